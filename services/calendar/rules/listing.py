"""The slots of many events in the order of their starts, from any place on.

Lists read of each event what says where its slots are, and look at one slot of each before they take the first: what
lies before that, and how many follow, costs nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from heapq import heapify, heappop, heapreplace, merge
from typing import NamedTuple

import orjson

from mesh.recurrence.dates import dates_of
from mesh.recurrence.document import from_document
from mesh.recurrence.rule import Rule
from mesh.recurrence.series import slot_text
from mesh.recurrence.zones import to_instant, to_wall_within
from mesh.runtime.clock import DAY, SECOND
from services.calendar.model import Pattern, Place, Window
from services.calendar.rules.series import length_end

_DATE = len("2026-03-29")
_LATEST = 253_402_041_600 * SECOND
"""The beginning of 29 December 9999: later instants are in no year of some zones, and have no slots a day later."""
_LAST_DAY = date.max.toordinal()
_DAY, _TWO_DAYS = timedelta(days=1), timedelta(days=2)


class Candidate(NamedTuple):
    """A slot at its place, before it is known what its row says."""

    place: Place
    local: datetime
    clamped: bool
    gap: bool


class Stream(NamedTuple):
    """The candidates of one event, the first one taken."""

    first: Candidate
    rest: Iterator[Candidate]


def stream(pattern: Pattern, window: Window) -> Stream | None:
    """The candidates of an event by place; None when there are none."""
    candidates = _candidates(pattern, window)
    first = next(candidates, None)
    return None if first is None else Stream(first, candidates)


def merged(streams: Iterable[Stream]) -> Iterator[Candidate]:
    """The candidates of all streams by place."""
    heap = list(streams)
    heapify(heap)  # places differ, so nothing but them is compared
    while heap:
        first, rest = heap[0]
        yield first
        following = next(rest, None)
        if following is None:
            heappop(heap)
        else:
            heapreplace(heap, Stream(following, rest))


def _candidates(pattern: Pattern, window: Window) -> Iterator[Candidate]:
    earliest = window.earliest(pattern.length_days, pattern.length_seconds)
    by_rule = _placed(pattern, window, earliest, _of_rule(pattern, window.zone, earliest), is_rule=True)
    if not pattern.added:
        return by_rule
    added = [(datetime.fromisoformat(text), False) for text in pattern.added]
    return _distinct(merge(by_rule, sorted(_placed(pattern, window, earliest, added)), key=_place))


def _placed(
    pattern: Pattern, window: Window, earliest: int, slots: Iterable[tuple[datetime, bool]], *, is_rule: bool = False
) -> Iterator[Candidate]:
    """The slots that are in the window, in the order that they come in; those of a rule are ordered by instant too."""
    begin, end, zone, after = window
    zone = pattern.time_zone or zone
    all_day = len(pattern.start_slot) == _DATE
    for local, clamped in slots:
        start, gap = to_instant(local, zone)
        if start >= end:
            if is_rule:
                return
        elif start >= begin or (start >= earliest and length_end(local, pattern.length, zone) > begin):
            place = Place(start, pattern.id, slot_text(local, all_day=all_day))
            if after is None or place > after:
                yield Candidate(place, local, clamped, gap and not all_day)


def _of_rule(pattern: Pattern, zone: str, earliest: int) -> Iterator[tuple[datetime, bool]]:
    """The slots of the rule from the earliest that is wanted on, and perhaps some before it."""
    start = datetime.fromisoformat(pattern.start_slot)
    if pattern.rule is None:
        yield start, False
        return
    if pattern.last_slot == "":
        return
    last = _LAST_DAY if pattern.last_slot is None else date.fromisoformat(pattern.last_slot[:_DATE]).toordinal()
    at, since = start.time(), _first(earliest if earliest < _LATEST else _LATEST, pattern.time_zone or zone)
    day = since.date() if at >= since.time() else since.date() + _DAY
    for ordinal, clamped in dates_of(_rule(pattern.rule), start.date()).since(day):
        if ordinal > last:
            return
        yield datetime.combine(date.fromordinal(ordinal), at), clamped


@lru_cache(maxsize=1024)
def _rule(text: str) -> Rule:
    """A rule without its end: users have few different ones."""
    return from_document(orjson.loads(text)).endless()


@lru_cache(maxsize=1024)
def _first(instant: int, zone: str) -> datetime:
    """A local time before which no slot is at the instant or later: events of one zone and length share it.

    Only what is in a gap is later than the clock on the wall says, by the length of the gap.
    """
    wall = to_wall_within(instant, zone)
    return wall if wall - to_wall_within(instant - 2 * DAY, zone) == _TWO_DAYS else wall - _DAY


def _distinct(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    previous: Place | None = None
    for candidate in candidates:
        if candidate.place != previous:
            yield candidate
        previous = candidate.place


def _place(candidate: Candidate) -> Place:
    return candidate.place
