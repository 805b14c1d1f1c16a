"""The time that occurrences take, across events. All-day occurrences take none."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import merge

from mesh.runtime.clock import SECOND
from services.calendar.model import Apart, Length, Taken, Timed, Window
from services.calendar.rules.listing import Candidate, Stream, merged
from services.calendar.rules.series import length_end


def taken_times(timed: Timed, streams: Iterable[Stream], window: Window) -> Iterator[Taken]:
    """The times that occurrences take in a window, by start; what takes none, because a row says so, comes too.

    streams: of the patterns.
    """
    by_pattern = (_of_pattern(each, timed, window.zone) for each in merged(streams))
    return merge(by_pattern, (_of_row(each, window) for each in timed.apart))


def _of_pattern(candidate: Candidate, timed: Timed, zone: str) -> Taken:
    start, event_id, slot = candidate.place
    if (event_id, slot) in timed.elsewhere:
        return Taken(start, event_id, slot, start)
    pattern = timed.patterns[event_id]
    return Taken(start, event_id, slot, _end(start, candidate.local, pattern.length, pattern.time_zone or zone))


def _of_row(apart: Apart, window: Window) -> Taken:
    start, event_id, slot = apart.place
    end = _end(start, datetime.fromisoformat(apart.start_slot), apart.length, apart.time_zone or window.zone)
    return Taken(start, event_id, slot, end if window.has(start, end) else start)


def _end(start: int, local: datetime, length: Length, zone: str) -> int:
    return max(start, length_end(local, length, zone)) if length.days else start + length.seconds * SECOND
