"""The RPCs of EventService, one method each."""

from focusmesh.calendar.v1 import event_service_pb2 as pb
from focusmesh.calendar.v1 import event_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.recurrence.rule import RuleError
from mesh.recurrence.series import check_series
from mesh.rpc.call import Context, current_call
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from services.calendar import events as messages
from services.calendar.clients.tasks import Tasks
from services.calendar.rules import changes
from services.calendar.rules.series import series_of
from services.calendar.store import events
from services.calendar.store.changes import Calendars, save
from services.calendar.wire import events as wire


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
        shown, next_page_token = self.pages.cut(found, page, events.event_key)
        made = await in_slices(map(wire.event_to_pb, shown))
        return pb.ListEventsResponse(events=made, next_page_token=next_page_token)
