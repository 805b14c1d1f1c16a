"""Days of a user: where they begin, and how work is split between them.

A day begins at the user's day start on the wall clock of the zone that the user was in then: in a repeated hour at its
first time, in a skipped one at the first instant after the gap. Work is cut at these instants, at every change of zone,
and at quarters of an hour, which no offset of a zone divides; so each piece lies in one hour of one day.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from mesh.runtime.clock import DAY, SECOND, to_datetime
from services.history.model import DayPart, Interval, IntervalKind, Recorded, Zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = 900 * SECOND
_DAY = timedelta(days=1)
_MOST_ZONES = 200
_NEAR = 3 * DAY
"""No instant of a date is farther from its noon in UTC."""
_MICROSECOND = timedelta(microseconds=1)


class Piece(NamedTuple):
    """A time that lies in one hour of one day."""

    local_date: date
    hour: int
    begin: int
    end: int


def zone_at(zones: Sequence[Zone], instant: int) -> Zone:
    """Where the user was; the first zone counts for all time before it."""
    return zones[max(bisect_right(zones, instant, key=_since) - 1, 0)]


def date_at(zones: Sequence[Zone], instant: int) -> date:
    """The user's date at an instant."""
    return _date_in(zone_at(zones, instant), instant)


def with_zone(zones: Sequence[Zone], added: Zone) -> tuple[Zone, ...]:
    """The zones with one more, in order; it replaces another of the same instant.

    One that changes nothing is kept as well, because one from before it may still arrive; among very many it is not,
    and of these the shortest stay is forgotten, but never the first or the last.
    """
    merged = sorted([*(zone for zone in zones if zone.since != added.since), added])
    if len(merged) > _MOST_ZONES:
        merged = [zone for index, zone in enumerate(merged) if index == 0 or zone[1:] != merged[index - 1][1:]]
    if len(merged) > _MOST_ZONES:
        del merged[min(range(1, len(merged) - 1), key=lambda index: merged[index + 1].since - merged[index].since)]
    return tuple(merged)


def affected(before: Sequence[Zone], after: Sequence[Zone]) -> list[tuple[int | None, int | None]]:
    """Between which instants the days differ; None is unbounded: before the first zone, and after the last."""
    bounds = [None, *sorted({zone.since for zone in (*before, *after)}), None]
    found: list[tuple[int | None, int | None]] = []
    for since, until in pairwise(bounds):
        instant = (until or 0) - 1 if since is None else since
        if zone_at(before, instant)[1:] != zone_at(after, instant)[1:]:
            first, _ = found.pop() if found and found[-1][1] == since else (since, until)
            found.append((first, until))
    return found


@lru_cache(maxsize=4096)
def day_start(time_zone: str, day_start_minutes: int, day: date) -> int:
    """The instant at which a date begins in a zone."""
    zone = ZoneInfo(time_zone)
    wall = datetime.combine(day, time(), zone) + timedelta(minutes=day_start_minutes)
    instant = _instant(wall)
    if to_datetime(instant).astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    return _end_of_gap(zone, _instant(wall.replace(fold=1)), instant)


def was_lived(zones: Sequence[Zone], day: date) -> bool:
    """Whether the user had any instant of this date: a traveller, and a zone that jumps over a date, may not."""
    noon = int(datetime.combine(day, time(12), UTC).timestamp()) * SECOND
    near = range(
        max(bisect_right(zones, noon - _NEAR, key=_since) - 1, 0), max(bisect_right(zones, noon + _NEAR, key=_since), 1)
    )
    for index in near:
        zone = zones[index]
        begin = day_start(zone.time_zone, zone.day_start_minutes, day)
        end = day_start(zone.time_zone, zone.day_start_minutes, day + _DAY)
        since = begin if index == 0 else max(begin, zone.since)
        until = end if index + 1 == len(zones) else min(end, zones[index + 1].since)
        if since < until:
            return True
    return False


def pieces(zones: Sequence[Zone], begin: int, end: int) -> Iterator[Piece]:
    """A time, cut into pieces in order."""
    while begin < end:
        zone = zone_at(zones, begin)
        day = _date_in(zone, begin)
        following = bisect_right(zones, begin, key=_since)
        until = min(
            end,
            day_start(zone.time_zone, zone.day_start_minutes, day + _DAY),
            (begin // _QUARTER + 1) * _QUARTER,
            zones[following].since if following < len(zones) and zones[following] is not zone else end,
        )
        yield Piece(day, to_datetime(begin).astimezone(ZoneInfo(zone.time_zone)).hour, begin, until)
        begin = until


def split(recorded: Recorded, zones: Sequence[Zone]) -> list[DayPart]:
    """What a session has in each hour of each day, on each task; of a deleted one nothing.

    Whole seconds are cut from the sum of all work before, and of all breaks, as the pomodoro service does: those of
    days, hours and tasks add up to those of the session. What an interval counts as counts where the last work on its
    main task is.
    """
    if recorded.deleted_at is not None:
        return []
    parts: dict[tuple[date, int, str | None], list[int]] = {}
    worked = rested = 0
    for interval in recorded.intervals:
        is_focus = interval.kind == IntervalKind.FOCUS
        total, last = worked if is_focus else rested, None
        main = main_task(interval)
        for span in interval.spans:
            for piece in pieces(zones, span.begin, span.end):
                task_id = recorded.todo_task_ids.get(span.task_id, span.task_id) if span.task_id else None
                figures = parts.setdefault((piece.local_date, piece.hour, task_id), [0, 0, 0, 0])
                after = total + piece.end - piece.begin
                figures[0 if is_focus else 1] += after // SECOND - total // SECOND
                total = after
                if span.task_id == main:
                    last = figures
        if is_focus:
            worked = total
            if last is not None:
                last[2] += interval.is_pomodoro
                last[3] += interval.planned_seconds
        else:
            rested = total
    return [
        DayPart(recorded.user_id, recorded.id, day, hour, task_id, *figures)
        for (day, hour, task_id), figures in sorted(parts.items(), key=_in_order)
        if any(figures)
    ]


def main_task(interval: Interval) -> str | None:
    """The task that most of an interval was worked on, the first of several."""
    worked: dict[str | None, int] = {}
    for span in interval.spans:
        worked[span.task_id] = worked.get(span.task_id, 0) + span.end - span.begin
    return max(worked, key=lambda task_id: worked[task_id]) if worked else None


def whole_seconds(intervals: Iterable[Interval]) -> int:
    """The whole seconds worked in the focus intervals."""
    return sum(length(each) for each in intervals if each.kind == IntervalKind.FOCUS) // SECOND


def length(interval: Interval) -> int:
    """How long an interval ran, without gaps."""
    return sum(span.end - span.begin for span in interval.spans)


def _since(zone: Zone) -> int:
    return zone.since


def _in_order(part: tuple[tuple[date, int, str | None], list[int]]) -> tuple[date, int, str]:
    (day, hour, task_id), _ = part
    return day, hour, task_id or ""


def _date_in(zone: Zone, instant: int) -> date:
    wall = to_datetime(instant).astimezone(ZoneInfo(zone.time_zone)).replace(tzinfo=None)
    day = (wall - timedelta(minutes=zone.day_start_minutes)).date()
    # A gap or a repeated hour around the day start moves it away from where the wall clock suggests it.
    while instant < day_start(zone.time_zone, zone.day_start_minutes, day):
        day -= _DAY
    while instant >= day_start(zone.time_zone, zone.day_start_minutes, day + _DAY):
        day += _DAY
    return day


def _instant(wall: datetime) -> int:
    return (wall.astimezone(UTC) - _EPOCH) // _MICROSECOND


def _end_of_gap(zone: ZoneInfo, before: int, after: int) -> int:
    """The instant between these at which the clock jumps, to the second."""
    offset = to_datetime(before).astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = (before + after) // 2 // SECOND * SECOND
        if to_datetime(middle).astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after
