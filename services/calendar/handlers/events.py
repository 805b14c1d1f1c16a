"""The RPCs of EventService, one method each."""

import asyncio
from itertools import islice

from focusmesh.calendar.v1 import event_service_pb2 as pb
from focusmesh.calendar.v1 import event_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.recurrence.rule import RuleError
from mesh.recurrence.series import check_series, first_slot, slot_text, slots
from mesh.rpc.call import Context, current_call
from mesh.rpc.etag import check_etag, etag_of
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from services.calendar import events as messages
from services.calendar.clients.tasks import Tasks
from services.calendar.errors import EventNotDeleted
from services.calendar.model import Change, OccurrenceRow
from services.calendar.rules import changes, edits
from services.calendar.rules.series import placed, series_of
from services.calendar.store import events, reminders
from services.calendar.store.changes import Calendars, Locked, save
from services.calendar.wire import events as wire
from services.calendar.wire.occurrences import occurrence_to_pb, preview_to_pb
from services.calendar.wire.reminders import upcoming_to_pb

_DEFAULT_OCCURRENCES, _MOST_OCCURRENCES = 10, 100
"""Of a preview."""


class EventHandlers(rpc.EventServiceServicer):
    """Events of the caller."""

    def __init__(self, db: Database, pages: Pages, calendars: Calendars, tasks: Tasks, clock: Clock) -> None:
        self.db, self.pages, self.calendars, self.tasks, self.clock = db, pages, calendars, tasks, clock

    async def CreateEvent(self, request: pb.CreateEventRequest, context: Context) -> pb.CreateEventResponse:
        call, now = current_call(), self.clock()
        if request.HasField("todo_task_id"):
            await self.tasks.require(call.user_id, request.todo_task_id, "todo_task_id")
        async with self.calendars.user(call.user_id, alone=True) as (tx, zone):
            event = wire.event_from_pb(request, event_id=new_id(), user_id=call.user_id, zone=zone, now=now)
            try:
                check_series(series_of(event, zone))
            except RuleError as error:
                raise wire.wrong_rule(error) from None
            change = changes.created(event, {}, zone)
            await events.require_room(tx, call.user_id)
            response = pb.CreateEventResponse(event=wire.event_to_pb(change.event))
            await save(tx, [change], call.side_effects(response, messages.event_created(change.event)))
        return response

    async def GetEvent(self, request: pb.GetEventRequest, context: Context) -> pb.GetEventResponse:
        async with self.db.connection() as connection:
            event = await events.get_event(connection, current_call().user_id, request.event_id)
        return pb.GetEventResponse(event=wire.event_to_pb(event))

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            found = await events.list_events(connection, user_id, wire.filter_from_pb(request), page)
        made = await in_slices(map(wire.event_to_pb, found[: page.size]))
        return self.pages.cut(pb.ListEventsResponse(events=made), found, page, events.event_key)

    async def UpdateEvent(self, request: pb.UpdateEventRequest, context: Context) -> pb.UpdateEventResponse:
        call, now = current_call(), self.clock()
        if request.changes.HasField("todo_task_id"):
            await self.tasks.require(call.user_id, request.changes.todo_task_id, "changes.todo_task_id")
        splits = request.scope == pb.EVENT_SCOPE_FOLLOWING
        async with self.calendars.event(call.user_id, request.event_id, alone=splits) as locked:
            changes.check_changeable(locked.event, etag_of(request))
            values = wire.values_from_pb(request, locked.event, locked.zone)
            if request.scope == pb.EVENT_SCOPE_THIS:
                return await self._update_one(request, locked, values, now)
            return await self._update_many(request, locked, values, now)

    async def _update_one(
        self, request: pb.UpdateEventRequest, locked: Locked, values: edits.Values, now: int
    ) -> pb.UpdateEventResponse:
        row = edits.this(locked.event, locked.rows, request.slot, values, locked.zone)
        change = _with_row(locked, row, now)
        found = edits.require(change.event, change.rows, request.slot, locked.zone)
        is_moved = values.keys() & {"start_slot", "length"}
        message = (messages.occurrence_moved if is_moved else messages.event_updated)(change.event, found)
        response = pb.UpdateEventResponse(
            event=wire.event_to_pb(change.event), occurrence=occurrence_to_pb(found, locked.zone)
        )
        await save(locked.tx, [change], current_call().side_effects(response, message))
        return response

    async def _update_many(
        self, request: pb.UpdateEventRequest, locked: Locked, values: edits.Values, now: int
    ) -> pb.UpdateEventResponse:
        tx, event, rows, zone = locked
        try:
            if request.scope == pb.EVENT_SCOPE_ALL:
                edited = edits.all_of(event, rows, values, zone, force=request.force)
            else:
                edited = edits.following(
                    event, rows, request.slot, values, zone, force=request.force, new_id=new_id(), now=now
                )
        except RuleError as error:
            raise wire.wrong_rule(error, "changes.") from None
        await asyncio.sleep(0)
        made = [changes.changed(event, edited.event, rows, edited.rows, zone, now)]
        published = [messages.event_updated(made[0].event)]
        if edited.new is not None:
            await events.require_room(tx, event.user_id)  # and other tasks of the loop run between the two
            new, new_rows = edited.new
            if await events.has_uid(tx, event.user_id, new.uid):
                new = new._replace(uid=None)
            made.append(changes.split_off(event, new, new_rows, zone, now))
            published.append(messages.event_created(made[1].event))
        response = pb.UpdateEventResponse(event=wire.event_to_pb(made[-1].event))
        await save(tx, made, current_call().side_effects(response, *published))
        return response

    async def DeleteEvent(self, request: pb.DeleteEventRequest, context: Context) -> pb.DeleteEventResponse:
        call, now = current_call(), self.clock()
        async with self.calendars.event(call.user_id, request.event_id) as locked:
            event, rows, zone = locked.event, locked.rows, locked.zone
            changes.check_changeable(event, etag_of(request))
            if request.scope == pb.EVENT_SCOPE_THIS:
                change = _with_row(locked, edits.cancelled(event, rows, request.slot, zone), now)
                found = edits.require(change.event, change.rows, request.slot, zone)
                message = messages.occurrence_cancelled(change.event, found)
            elif request.scope == pb.EVENT_SCOPE_FOLLOWING and (left := edits.ended(event, rows, request.slot, zone)):
                change = changes.changed(event, left.event, rows, left.rows, zone, now)
                message = messages.event_updated(change.event)
            else:
                change = changes.changed(event, edits.deleted(event, now), rows, rows, zone, now)
                message = messages.event_deleted(change.event)
            response = pb.DeleteEventResponse(event=wire.event_to_pb(change.event))
            await save(locked.tx, [change], call.side_effects(response, message))
        return response

    async def UndeleteEvent(self, request: pb.UndeleteEventRequest, context: Context) -> pb.UndeleteEventResponse:
        call, now = current_call(), self.clock()
        async with self.calendars.event(call.user_id, request.event_id, alone=True) as locked:
            tx, event, rows, zone = locked
            check_etag(etag_of(request), event.version)
            if event.deleted_at is None:
                raise EventNotDeleted(event_id=event.id)
            await events.require_room(tx, call.user_id)
            is_imported_again = await events.has_uid(tx, call.user_id, event.uid)
            undeleted = event._replace(deleted_at=None, purge_at=None, uid=None if is_imported_again else event.uid)
            change = changes.changed(event, undeleted, rows, rows, zone, now)
            response = pb.UndeleteEventResponse(event=wire.event_to_pb(change.event))
            await save(tx, [change], call.side_effects(response, messages.event_updated(change.event)))
        return response

    async def ListUpcomingReminders(
        self, request: pb.ListUpcomingRemindersRequest, context: Context
    ) -> pb.ListUpcomingRemindersResponse:
        user_id = current_call().user_id
        page, zone = self.pages.read(request, user_id), await self.calendars.zones.of(user_id)
        async with self.db.connection() as connection:
            found = await reminders.list_upcoming(connection, user_id, page)
        made = await in_slices(upcoming_to_pb(each, zone) for each in found[: page.size])
        response = pb.ListUpcomingRemindersResponse(upcoming_reminders=made)
        return self.pages.cut(response, found, page, reminders.upcoming_key)

    async def PreviewEvent(self, request: pb.PreviewEventRequest, context: Context) -> pb.PreviewEventResponse:
        zone = await self.calendars.zones.of(current_call().user_id)
        draft = wire.draft_from_pb(request, zone)
        series = series_of(draft, zone)
        try:
            first = first_slot(series)
        except RuleError as error:
            raise wire.wrong_rule(error) from None
        most = min(request.count or _DEFAULT_OCCURRENCES, _MOST_OCCURRENCES)
        found = (
            placed(draft, slot, slot_text(slot.local, all_day=series.all_day), None, series.time_zone)
            for slot in slots(series)
        )
        response = pb.PreviewEventResponse(
            occurrences=await in_slices(preview_to_pb(each, zone) for each in islice(found, most))
        )
        if first.local != series.start:
            response.next_start = slot_text(first.local, all_day=series.all_day)
        return response


def _with_row(locked: Locked, row: OccurrenceRow, now: int) -> Change:
    """The locked event with another row."""
    rows = {**locked.rows, row.slot: row}
    return changes.changed(locked.event, locked.event, locked.rows, rows, locked.zone, now)
