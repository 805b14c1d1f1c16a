"""Which occurrences of an event have ended since that was last said, and which ends next."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from services.calendar.model import CalendarEvent, Occurrence, OccurrenceRow, Status
from services.calendar.rules.series import LAST_INSTANT, between


class Endings(NamedTuple):
    """What has ended of an event, by end, and when the next occurrence ends after that; None: never."""

    ended: list[Occurrence]
    next_end: int | None

    def next_after(self, until: int) -> int | None:
        """When the next one ends when only those until an instant are said to have ended."""
        return next((each.end for each in self.ended if each.end > until), self.next_end)


def endings(
    event: CalendarEvent,
    rows: Mapping[str, OccurrenceRow],
    until: int,
    zone: str,
    beside: Sequence[Occurrence] | None = None,
) -> Endings:
    """What has ended until an instant, from the event's next end on; without what was cancelled.

    rows: all of the event, by slot. zone: of its user. beside: as `between` takes it.
    """
    since, ended, following = event.next_end_at or 0, list[Occurrence](), LAST_INSTANT + 1
    for found in between(event, rows, since - 1, LAST_INSTANT + 1, zone, beside):
        if found.start > until and found.start >= following:
            break
        if found.status == Status.CANCELLED or found.end < since:
            continue
        if found.end <= until:
            ended.append(found)
        else:
            following = min(following, found.end)
    return Endings(sorted(ended, key=attrgetter("end", "slot")), following if following <= LAST_INSTANT else None)
