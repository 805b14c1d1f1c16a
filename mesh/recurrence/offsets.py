"""Offsets of reminders: how long before a due time, as ISO 8601 durations.

Days and weeks count on the wall clock, hours, minutes and seconds in time that passes: `-P1D` is the same local time on
the day before, `-PT24H` is 24 hours before.
"""

import re
from datetime import timedelta
from typing import NamedTuple

from mesh.recurrence.zones import to_instant, to_wall
from mesh.runtime.clock import DAY, SECOND

MOST_DAYS = 366
_FORM = re.compile(
    r"(?P<minus>-?)P(?=[0-9T])(?:(?P<weeks>[0-9]{1,2})W|(?:(?P<days>[0-9]{1,3})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,4})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,8})S)?)?)",
    re.ASCII,
)


class Offset(NamedTuple):
    """How long before: days on the wall clock, then seconds."""

    days: int
    seconds: int


def parse_offset(text: str) -> Offset:
    """The offset of a text such as `-P1DT2H`. Raises ValueError for a text of another form, after, or over 366 days."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("must be an ISO 8601 duration such as -P1D, -PT30M or PT0S")
    weeks, days, hours, minutes, seconds = (
        int(found[name] or 0) for name in ("weeks", "days", "hours", "minutes", "seconds")
    )
    offset = Offset(weeks * 7 + days, hours * 3600 + minutes * 60 + seconds)
    if any(offset) and not found["minus"]:
        raise ValueError("must not be after the due time: begin it with a minus")
    if offset.days * DAY + offset.seconds * SECOND > MOST_DAYS * DAY:
        raise ValueError(f"must be at most {MOST_DAYS} days")
    return offset


def before(instant: int, offset: Offset, time_zone: str) -> int:
    """The instant that lies so long before another; a local time in a gap is moved as one of a slot is."""
    if offset.days:
        instant = to_instant(to_wall(instant, time_zone) - timedelta(days=offset.days), time_zone)[0]
    return instant - offset.seconds * SECOND
