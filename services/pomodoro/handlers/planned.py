"""The RPCs of PlannedSessionService: sessions of occurrences of a calendar."""

from focusmesh.pomodoro.v1 import planned_session_service_pb2 as pb
from focusmesh.pomodoro.v1 import planned_session_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.rpc.call import Context, current_call
from mesh.runtime.ids import new_id
from services.pomodoro import events, wire
from services.pomodoro.handlers.settings import UserSettings
from services.pomodoro.handlers.writes import Writes
from services.pomodoro.model import Act, Focus, Preferences, SlotTaken
from services.pomodoro.rules import sessions
from services.pomodoro.store.sessions import UserSessions


class PlannedSessionHandlers(rpc.PlannedSessionServiceServicer):
    """Sessions of the user that a request names; one of an occurrence."""

    def __init__(self, db: Database, settings: UserSettings, writes: Writes) -> None:
        self.db, self.settings, self.writes = db, settings, writes

    async def StartPlannedSession(
        self, request: pb.StartPlannedSessionRequest, context: Context
    ) -> pb.StartPlannedSessionResponse:
        preferences, _ = await self.settings.read()
        act = self.writes.act(request)

        async def attempt(connection: Connection) -> pb.StartPlannedSessionResponse:
            stored = UserSessions(connection)
            found = await stored.find_of_slot(*wire.slot_from_pb(request))
            if found is not None:
                return _respond(await self.writes.advanced(stored, found, act.now), act, is_new=False)
            begun = _begun(request, preferences, act)
            response = _respond(begun, act, is_new=True)
            side_effects = current_call().side_effects(response, events.session_started(begun))
            try:
                await self.writes.save_running(stored, begun, side_effects, act, request.when_running)
            except SlotTaken:
                raise WriteConflict from None
            return response

        return await self.writes.notify(self.db.retry_on_conflict(attempt))


def _begun(request: pb.StartPlannedSessionRequest, preferences: Preferences, act: Act) -> Focus:
    """The new session, running."""
    session = wire.planned_from_pb(request, preferences, session_id=new_id(), now=act.now)
    tasks = [request.task] if request.HasField("task") else []
    listed = wire.tasks_from_pb(tasks, [new_id() for _ in tasks], session_id=session.id, now=act.now)
    return sessions.create(session, listed, act, start=True)


def _respond(focus: Focus, act: Act, *, is_new: bool) -> pb.StartPlannedSessionResponse:
    return pb.StartPlannedSessionResponse(
        focus_session=wire.focus_to_pb(focus, act.now), server_time=wire.timestamp(act.now), is_new=is_new
    )
