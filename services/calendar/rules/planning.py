"""Time that is taken, time that is free, and what fits into it. Instants in microseconds; every time is half-open.

What may look at many occurrences is a generator with an item for each of them, so that it can run in slices.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, time, timedelta
from itertools import chain, islice
from typing import NamedTuple, TypeAlias, TypeVar

from mesh.recurrence.zones import to_instant, to_wall_within
from mesh.runtime.clock import DAY, SECOND, to_datetime
from services.calendar.model import Taken

Found = TypeVar("Found")
Conflict: TypeAlias = tuple[Taken, ...]
"""Two that overlap, the one that began later first; or one that overlaps what is not an event yet. Sorted as listed."""

_MINUTES_OF_POMODORO = 25
_MOST_MINUTES = 120
"""Of a focus block that the need of a task asks for."""
_LOOKS_AHEAD = 14 * DAY
_LONGEST_WINDOW = 62 * DAY
_DAY = timedelta(days=1)
_MINUTE = 60 * SECOND


class Time(NamedTuple):
    """A time, from an instant to another."""

    start: int
    end: int


class Hours(NamedTuple):
    """When somebody works, on the wall clock: from `start` to `end`, on the next day when that is not after it."""

    start: time
    end: time
    weekdays: frozenset[int]
    """On which they begin; Monday is 0."""


WORKING_HOURS = Hours(time(9), time(17), frozenset(range(5)))
"""Of who says no other."""


def working_times(window: Time, hours: Hours, zone: str) -> Iterator[Time]:
    """The working hours in a window, in order; hours that touch are one time.

    A date that the zone jumps over has none; what is in a gap is later by its length, as everywhere.
    """
    return _joined(_each_day(window, hours, zone))


def free_times(working: Iterable[Time], taken: Iterable[Time | Taken]) -> Iterator[Sequence[Time]]:
    """The parts of `working` that nothing takes, in order: for each that is taken those before it, and then the rest.

    Both in the order of their starts; what is taken may overlap.
    """
    waiting, free_from = _Waiting(working), 0
    for each in taken:
        if each.end <= each.start:
            yield ()
            continue
        yield waiting.until(free_from, each.start)
        free_from = max(free_from, each.end)
    yield waiting.until(free_from, None)


def fitting(times: Iterable[Time], length: int, most: int, *, in_blocks: bool) -> tuple[Time, ...]:
    """Those times that are long enough; or the blocks of this length that they have place for. At most `most`."""
    found = (each for each in times if each.end - each.start >= length)
    if in_blocks:
        found = chain.from_iterable(_blocks(each, length) for each in found)  # type: ignore[assignment]
    return tuple(islice(found, most))


def starts(free: Iterable[Time], length: int, zone: str) -> tuple[int, ...]:
    """Where something of this length first begins in each free time that has place for it.

    On a full minute, and not when an hour is repeated: a local time of that hour is the first one.
    """
    found = (_first_start(each, length, zone) for each in free)
    return tuple(each for each in found if each is not None)


def conflicts(taken: Iterable[Taken]) -> Iterator[Sequence[Conflict]]:
    """For each that is taken, in order, its conflicts with those that began before it and go on."""
    going_on: list[Taken] = []
    for later in taken:
        if later.end <= later.start:
            yield ()
            continue
        going_on = [each for each in going_on if each.end > later.start]
        yield tuple([(later, each) for each in going_on])
        going_on.append(later)


def drafted(taken: Iterable[Taken]) -> Iterator[Sequence[Conflict]]:
    """The conflicts of what is taken with the window that it is of."""
    for each in taken:
        yield ((each,),) if each.end > each.start else ()


def following(steps: Iterable[Sequence[Conflict]], after: Conflict | None) -> Iterator[Sequence[Conflict]]:
    """The conflicts after one of them; None: all."""
    for step in steps:
        yield step if after is None else tuple(each for each in step if each > after)


def shared(conflict: Conflict, draft: Time | None) -> Time:
    """The time that those of a conflict share, with what is not an event yet."""
    times = [Time(each.start, each.end) for each in conflict] + ([] if draft is None else [draft])
    return Time(max(each.start for each in times), min(each.end for each in times))


def until(most: int, steps: Iterable[Sequence[Found]]) -> Iterator[Sequence[Found]]:
    """The steps of a search until so many were found."""
    found = 0
    for step in steps:
        yield step
        found += len(step)
        if found >= most:
            return


def minutes_needed(estimated: int, done: int) -> int:
    """How long a focus block for a task is, by its pomodoros; without an estimate, or with all of it done, for one."""
    return min(max(estimated - done, 1) * _MINUTES_OF_POMODORO, _MOST_MINUTES)


def window_to_plan(now: int, start: int | None, end: int | None, due: int | None) -> Time:
    """Where a focus block is looked for, none of it in the past: until `end`, or the task is due, or for 14 days."""
    begin = max(now, start or 0)
    if end is None:
        end = begin + _LOOKS_AHEAD if due is None or due <= begin else min(due, begin + _LONGEST_WINDOW)
    return Time(begin, end)


def _first_start(free: Time, length: int, zone: str) -> int | None:
    start = -(-free.start // _MINUTE) * _MINUTE
    while start + length <= free.end:
        if to_instant(to_wall_within(start, zone), zone)[0] == start:
            return start
        start += _MINUTE
    return None


class _Waiting:
    """Working times of which the beginning was looked at."""

    def __init__(self, working: Iterable[Time]) -> None:
        self._rest = iter(working)
        self._next = next(self._rest, None)

    def until(self, begin: int, end: int | None) -> list[Time]:
        """Their parts between two instants, which do not go back; None for the rest."""
        parts: list[Time] = []
        while self._next is not None and (end is None or self._next.start < end):
            start, stop = max(self._next.start, begin), self._next.end if end is None else min(self._next.end, end)
            if start < stop:
                parts.append(Time(start, stop))
            if end is not None and self._next.end > end:
                break
            self._next = next(self._rest, None)
        return parts


def _each_day(window: Time, hours: Hours, zone: str) -> Iterator[Time]:
    """The working hours of each date, in the window."""
    day = datetime.combine(to_datetime(window.start), time.min) - 3 * _DAY  # the day before, in every zone and gap
    over_midnight = _DAY if hours.end <= hours.start else timedelta()
    while True:
        try:
            begins, next_begins = to_instant(day, zone)[0], to_instant(day + _DAY, zone)[0]
        except OverflowError:  # the end of the year 9999
            return
        if begins >= window.end:
            return
        if begins < next_begins and day.weekday() in hours.weekdays:
            start = to_instant(datetime.combine(day, hours.start), zone)[0]
            end = to_instant(datetime.combine(day, hours.end) + over_midnight, zone)[0]
            yield Time(max(start, window.start), min(end, window.end))
        day += _DAY


def _joined(times: Iterable[Time]) -> Iterator[Time]:
    """Times in order, those that overlap or touch as one, without empty ones."""
    last: Time | None = None
    for each in times:
        if each.start >= each.end:
            continue
        if last is not None and each.start <= last.end:
            last = Time(last.start, max(last.end, each.end))
            continue
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last


def _blocks(free: Time, length: int) -> Iterator[Time]:
    return (Time(start, start + length) for start in range(free.start, free.end - length + 1, length))
