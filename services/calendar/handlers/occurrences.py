"""The RPCs of OccurrenceService, one method each."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from focusmesh.calendar.v1 import occurrence_service_pb2 as pb
from focusmesh.calendar.v1 import occurrence_service_pb2_grpc as rpc
from google.protobuf.message import Message

from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import Event
from mesh.rpc.call import Context, current_call
from mesh.rpc.etag import check_etag, etag_of
from mesh.rpc.pagination import Key, Pages
from mesh.runtime.clock import Clock, from_timestamp
from mesh.runtime.slices import in_slices
from services.calendar import events as messages
from services.calendar.errors import EventNotFound, EventReadOnly, OccurrenceNotFound
from services.calendar.handlers.listing import list_occurrences
from services.calendar.model import CalendarEvent, Occurrence, OccurrenceRow, Place, Window
from services.calendar.rules import changes, series
from services.calendar.rules import occurrences as rules
from services.calendar.store import events
from services.calendar.store import occurrences as store
from services.calendar.store.changes import Calendars, Locked, save
from services.calendar.store.users import UserZones
from services.calendar.wire import occurrences as wire

_Response = TypeVar("_Response", bound=Message)


class OccurrenceHandlers(rpc.OccurrenceServiceServicer):
    """What takes place of the caller's events."""

    def __init__(self, db: Database, pages: Pages, calendars: Calendars, zones: UserZones, clock: Clock) -> None:
        self.db, self.pages, self.calendars, self.zones, self.clock = db, pages, calendars, zones, clock

    async def ListOccurrences(self, request: pb.ListOccurrencesRequest, context: Context) -> pb.ListOccurrencesResponse:
        user_id = current_call().user_id
        page, zone = self.pages.read(request, user_id), await self.zones.of(user_id)
        begin, end = from_timestamp(request.start_time), from_timestamp(request.end_time)
        window = Window(begin, end, zone, _place(page.after))
        listed = await list_occurrences(self.db, user_id, window, wire.filter_from_pb(request), page.size)
        messages = await in_slices(
            wire.occurrence_to_pb(each, zone, with_description=False) for each in listed.occurrences
        )
        return self.pages.cut(
            pb.ListOccurrencesResponse(occurrences=messages),
            listed.occurrences,
            page,
            _key,
            more_after=None if listed.more_after is None else list(listed.more_after),
        )

    async def GetOccurrence(self, request: pb.GetOccurrenceRequest, context: Context) -> pb.GetOccurrenceResponse:
        found, zone = await self.read(request.occurrence_id)
        return pb.GetOccurrenceResponse(occurrence=wire.occurrence_to_pb(found, zone))

    async def MoveOccurrence(self, request: pb.MoveOccurrenceRequest, context: Context) -> pb.MoveOccurrenceResponse:
        def decide(occurrence: Occurrence) -> OccurrenceRow:
            return rules.moved(occurrence, *wire.move_from_pb(request, occurrence))

        return await self._change(request, decide, messages.occurrence_moved, pb.MoveOccurrenceResponse)

    async def CancelOccurrence(
        self, request: pb.CancelOccurrenceRequest, context: Context
    ) -> pb.CancelOccurrenceResponse:
        return await self._change(request, rules.cancelled, messages.occurrence_cancelled, pb.CancelOccurrenceResponse)

    async def RestoreOccurrence(
        self, request: pb.RestoreOccurrenceRequest, context: Context
    ) -> pb.RestoreOccurrenceResponse:
        return await self._change(request, rules.restored, messages.event_updated, pb.RestoreOccurrenceResponse)

    async def CompleteOccurrence(
        self, request: pb.CompleteOccurrenceRequest, context: Context
    ) -> pb.CompleteOccurrenceResponse:
        now = self.clock()
        return await self._change(
            request,
            lambda occurrence: rules.completed(occurrence, now),
            messages.occurrence_completed,
            pb.CompleteOccurrenceResponse,
        )

    async def read(self, occurrence_id: str) -> tuple[Occurrence, str]:
        """An occurrence of the caller, and where the caller is; raises OccurrenceNotFound."""
        user_id, (event_id, slot) = current_call().user_id, wire.occurrence_id_from_pb(occurrence_id)
        zone = await self.zones.of(user_id)
        with _named(occurrence_id):
            async with self.db.connection() as connection:
                # The event first: after a change in between, the etag is too old, and never too new.
                event = await events.get_event(connection, user_id, event_id)
                row = await store.get_row(connection, event_id, slot)
        return found_occurrence(occurrence_id, event, slot, row, zone), zone

    @asynccontextmanager
    async def locked(self, request: Any) -> AsyncIterator[tuple[Locked, Occurrence]]:
        """The occurrence of a changing request, whose event nobody else changes until the end of the block.

        Raises OccurrenceNotFound, EventReadOnly and VersionConflict.
        """
        user_id, (event_id, slot) = current_call().user_id, wire.occurrence_id_from_pb(request.occurrence_id)
        with _named(request.occurrence_id):
            async with self.calendars.event(user_id, event_id) as locked:
                event = locked.event
                found = found_occurrence(request.occurrence_id, event, slot, locked.rows.get(slot), locked.zone)
                require_own(found)
                check_etag(etag_of(request), event.version)
                yield locked, found

    async def _change(
        self,
        request: Any,
        decide: Callable[[Occurrence], OccurrenceRow],
        message: Callable[[CalendarEvent, Occurrence], Event],
        respond: Callable[..., _Response],
    ) -> _Response:
        """Gives an occurrence another row; where it has that already, nothing changes and only the response is kept."""
        async with self.locked(request) as (locked, before):
            row = decide(before)
            if row == rules.row_of(before):
                response = respond(occurrence=wire.occurrence_to_pb(before, locked.zone))
                await outbox.store_response(locked.tx, current_call().side_effects(response))
                return response
            rows = locked.rows | {row.slot: row}
            change = changes.changed(locked.event, locked.event, locked.rows, rows, locked.zone, self.clock())
            kept = change.rows.get(row.slot)
            after = found_occurrence(request.occurrence_id, change.event, row.slot, kept, locked.zone)
            response = respond(occurrence=wire.occurrence_to_pb(after, locked.zone))
            await save(locked.tx, [change], current_call().side_effects(response, message(change.event, after)))
        return response


def _key(occurrence: Occurrence) -> Key:
    return [occurrence.start, occurrence.event.id, occurrence.slot]


def _place(key: Any) -> Place | None:
    return None if key is None else Place(*key)


@contextmanager
def _named(occurrence_id: str) -> Iterator[None]:
    """Says OccurrenceNotFound of an event that the user does not have."""
    try:
        yield
    except EventNotFound:
        raise OccurrenceNotFound(occurrence_id=occurrence_id) from None


def require_own(occurrence: Occurrence) -> None:
    """Raises EventReadOnly for an occurrence of a subscription."""
    if occurrence.event.subscription_id is not None:
        raise EventReadOnly(event_id=occurrence.event.id)


def found_occurrence(
    occurrence_id: str, event: CalendarEvent, slot: str, row: OccurrenceRow | None, zone: str
) -> Occurrence:
    """What takes place at a slot; raises OccurrenceNotFound, also when the event is deleted."""
    found = series.occurrence(event, slot, row, zone) if event.deleted_at is None else None
    if found is None:
        raise OccurrenceNotFound(occurrence_id=occurrence_id)
    return found
