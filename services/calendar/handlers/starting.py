"""StartOccurrence: the occurrence and its focus session, which pomodoro has.

The slot is the key that makes a start repeatable: pomodoro has one session of it. Whatever fails after that call, the
next start gets the same session, and the events of pomodoro store the link as well (`consumers.py`).
"""

from focusmesh.calendar.v1 import occurrence_service_pb2 as pb

from mesh.database.pool import Database
from mesh.events import outbox
from mesh.rpc.call import Context, current_call
from mesh.rpc.etag import check_etag, etag_of
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.calendar import events as messages
from services.calendar.clients.sessions import Sessions
from services.calendar.clients.tasks import Tasks
from services.calendar.errors import TodoTaskNotFound, TodoUnavailable
from services.calendar.handlers.occurrences import OccurrenceHandlers, found_occurrence, require_own
from services.calendar.model import Occurrence, Status
from services.calendar.rules import changes, starting
from services.calendar.rules.occurrences import row_of
from services.calendar.store import occurrences as store
from services.calendar.store.changes import Calendars, save
from services.calendar.store.users import UserZones
from services.calendar.wire import occurrences as wire
from services.calendar.wire import sessions as session_wire


class StartingHandlers(OccurrenceHandlers):
    """With StartOccurrence, which calls pomodoro."""

    def __init__(
        self,
        db: Database,
        pages: Pages,
        calendars: Calendars,
        zones: UserZones,
        clock: Clock,
        sessions: Sessions,
        tasks: Tasks,
    ) -> None:
        super().__init__(db, pages, calendars, zones, clock)
        self.sessions, self.tasks = sessions, tasks

    async def StartOccurrence(self, request: pb.StartOccurrenceRequest, context: Context) -> pb.StartOccurrenceResponse:
        call = current_call()
        seen, zone = await self.read(request.occurrence_id)
        require_own(seen)
        check_etag(etag_of(request), seen.event.version)
        starting.require_startable(seen)
        if seen.status == Status.COMPLETED:
            response = _respond(seen, zone, row_of(seen).session_id or "", is_new=False)
            async with self.db.connection() as connection:
                await outbox.store_response(connection, call.side_effects(response))
            return response
        if seen.row is None:
            async with self.db.connection() as connection:
                await store.require_room(connection, seen.event.id)
        asked = session_wire.start_to_pb(
            request,
            seen,
            task_title=await self._task_title(seen),
            request_id=new_id(),
            device_id=call.identity.session_id,
        )
        answer = await self.sessions.start(asked)
        return await self._link(request, seen, answer.focus_session.id, is_new=answer.is_new)

    async def _link(
        self, request: pb.StartOccurrenceRequest, seen: Occurrence, session_id: str, *, is_new: bool
    ) -> pb.StartOccurrenceResponse:
        """Stores the session of an occurrence. seen: before pomodoro was asked; when another session was stored since,
        that is the newer one."""
        call = current_call()
        async with self.calendars.event(seen.event.user_id, seen.event.id) as locked:
            slot, zone = seen.slot, locked.zone
            before = found_occurrence(request.occurrence_id, locked.event, slot, locked.rows.get(slot), zone)
            row = starting.started(before, session_id)
            if row_of(before).starts != row_of(seen).starts or row == row_of(before):
                response = _respond(before, zone, session_id, is_new=is_new)
                await outbox.store_response(locked.tx, call.side_effects(response))
                return response
            rows = locked.rows | {slot: row}
            change = changes.changed(locked.event, locked.event, locked.rows, rows, zone, self.clock())
            after = found_occurrence(request.occurrence_id, change.event, slot, change.rows[slot], zone)
            response = _respond(after, zone, session_id, is_new=is_new)
            message = messages.occurrence_started(change.event, after)
            await save(locked.tx, [change], call.side_effects(response, message))
        return response

    async def _task_title(self, occurrence: Occurrence) -> str | None:
        """What the task of its event is called, or the occurrence while todo is away; None without a task."""
        event = occurrence.event
        if event.todo_task_id is None:
            return None
        try:
            return (await self.tasks.require(event.user_id, event.todo_task_id, "todo_task_id")).title
        except TodoUnavailable:
            return occurrence.title
        except TodoTaskNotFound:
            return None


def _respond(occurrence: Occurrence, zone: str, session_id: str, *, is_new: bool) -> pb.StartOccurrenceResponse:
    return pb.StartOccurrenceResponse(
        occurrence=wire.occurrence_to_pb(occurrence, zone), focus_session_id=session_id, is_new=is_new
    )
