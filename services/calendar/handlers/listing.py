"""A page of what takes place in a window, across events, in the order of the starts."""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from mesh.database.pool import Database
from mesh.recurrence.series import Moved, Slot
from mesh.runtime.slices import in_slices
from services.calendar.model import Occurrence, OccurrenceFilter, Place, Window
from services.calendar.rules import series
from services.calendar.rules.listing import Candidate, merged, stream
from services.calendar.store import windows
from services.calendar.store.windows import Found

_MOST_AT_ONCE = 400
_MOST_LOOKED_AT = 5_000
"""Slots of one page: when so many were left out, the page is short and the next one goes on from there."""


class Listed(NamedTuple):
    """Occurrences in order, and the place after which there may be more; None: there are no more."""

    occurrences: list[Occurrence]
    more_after: Place | None


class _Chunk(NamedTuple):
    """Places that are looked at together, and what is there."""

    candidates: Mapping[Place, Candidate]
    apart: Collection[Place]
    """Where rows put occurrences."""
    found: Mapping[tuple[str, str], Found]
    """By event and slot."""
    versions: Mapping[str, int]
    """Of the events when their candidates were made."""


async def list_occurrences(db: Database, user_id: str, window: Window, chosen: OccurrenceFilter, size: int) -> Listed:
    """The first occurrences of a window, at most `size`: fewer, even none, where very many others are left out.

    A connection is held for a few statements only: the slots of the largest calendars take turns on the event loop.
    """
    async with db.connection() as connection:
        patterns = await windows.list_patterns(connection, user_id, window, chosen)
    streams = await in_slices(stream(pattern, window) for pattern in patterns)
    candidates = merged(each for each in streams if each is not None)
    versions = {pattern.id: pattern.version for pattern in patterns}
    listed, waiting, looked_at, at_once = list[tuple[Place, Occurrence]](), list[Candidate](), 0, size + 1
    while True:
        waiting += await in_slices(islice(candidates, at_once - len(waiting)))
        until = waiting[-1].place if len(waiting) == at_once else None
        async with db.connection() as connection:
            apart = await windows.list_apart(connection, user_id, window, chosen, until, at_once)
            if len(apart) == at_once:
                until = apart[-1]
            here = {each.place: each for each in waiting if until is None or each.place <= until}
            found = await windows.read(connection, user_id, [*here, *apart], chosen.states, versions)
        waiting, looked_at = waiting[len(here) :], looked_at + len(here) + len(apart)
        listed += await in_slices(_occurrences(_Chunk(here, set(apart), found, versions), window))
        if until is None or len(listed) > size or looked_at >= _MOST_LOOKED_AT:
            break
        window, at_once = window._replace(after=until), min(2 * at_once, _MOST_AT_ONCE)
    if len(listed) > size:
        until = listed[size - 1][0]
    return Listed([occurrence for _, occurrence in listed[:size]], until)


def _occurrences(chunk: _Chunk, window: Window) -> Iterator[tuple[Place, Occurrence]]:
    for place in sorted({*chunk.candidates, *chunk.apart}):
        found = chunk.found.get((place.event_id, place.slot))
        made = None if found is None else _occurrence(place, found, chunk, window.zone)
        if made is not None and window.has(made.start, made.end):
            yield place, made


def _occurrence(place: Place, found: Found, chunk: _Chunk, zone: str) -> Occurrence | None:
    """What takes place there; None when a row puts it elsewhere."""
    event, _, row = found
    candidate, is_apart = chunk.candidates.get(place), row is not None and row.start_time is not None
    if place not in chunk.apart if is_apart else candidate is None:
        return None
    if candidate is None or is_apart or event.version != chunk.versions[event.id]:
        return series.occurrence(event, place.slot, row, zone)
    moved = (Moved.CLAMP,) * candidate.clamped + (Moved.GAP,) * candidate.gap
    slot = Slot(candidate.local, place.start, moved)
    return series.placed(event, slot, place.slot, row, event.time_zone or zone)
