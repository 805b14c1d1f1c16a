"""The RPCs of FocusSessionService, one method each."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.pomodoro.v1 import focus_session_service_pb2_grpc as rpc
from google.protobuf.message import Message

from mesh.rpc.call import Context, current_call
from mesh.rpc.pagination import Key, Pages
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.pomodoro import errors, events, wire
from services.pomodoro.handlers.links import TodoLinks
from services.pomodoro.handlers.settings import UserSettings
from services.pomodoro.handlers.watches import WatchStreams
from services.pomodoro.handlers.writes import SessionStore, Writes
from services.pomodoro.model import Act, Focus, Preferences, Session, SlotTaken, SyncResult
from services.pomodoro.rules import gaps, sessions, tasks

_Response = TypeVar("_Response", bound=Message)


class FocusSessionHandlers(rpc.FocusSessionServiceServicer):
    """Focus sessions of the caller."""

    def __init__(
        self,
        pages: Pages,
        settings: UserSettings,
        links: TodoLinks,
        writes: Writes,
        watches: WatchStreams,
    ) -> None:
        self.pages, self.settings = pages, settings
        self.links, self.writes, self.watches = links, writes, watches

    async def CreateFocusSession(
        self, request: pb.CreateFocusSessionRequest, context: Context
    ) -> pb.CreateFocusSessionResponse:
        await self.links.check(wire.links_from_pb(request))
        preferences, defaults_used = Preferences(), False
        if wire.needs_preferences(request):
            preferences, defaults_used = await self.settings.read()

        async def make(_: SessionStore, act: Act) -> Focus:
            session_id, user_id = new_id(), current_call().user_id
            session = wire.session_from_pb(request, preferences, session_id=session_id, user_id=user_id, now=act.now)
            ids = [new_id() for _ in request.tasks]
            listed = wire.tasks_from_pb(request.tasks, ids, session_id=session_id, now=act.now)
            return sessions.create(session, listed, act, start=request.start)

        event = events.session_started if request.start else events.session_created
        respond = partial(_respond, pb.CreateFocusSessionResponse, defaults_used=defaults_used)
        return await self.writes.begin(request, make, event, respond)

    async def GetFocusSession(self, request: pb.GetFocusSessionRequest, context: Context) -> pb.GetFocusSessionResponse:
        user_id, now = current_call().user_id, self.writes.clock()
        session_id = request.focus_session_id
        focus = await self.writes.shown(lambda stored: stored.get_state(user_id, session_id), now)
        return _respond(pb.GetFocusSessionResponse, focus, now)

    async def GetCurrentFocusSession(
        self, request: pb.GetCurrentFocusSessionRequest, context: Context
    ) -> pb.GetCurrentFocusSessionResponse:
        now = self.writes.clock()
        return _respond(pb.GetCurrentFocusSessionResponse, await self.writes.current(now), now)

    async def ListFocusSessions(
        self, request: pb.ListFocusSessionsRequest, context: Context
    ) -> pb.ListFocusSessionsResponse:
        user_id, now = current_call().user_id, self.writes.clock()
        chosen, page = wire.filter_from_pb(request), self.pages.read(request, user_id)

        async def attempt(stored: SessionStore) -> list[Session]:
            found = await stored.list_sessions(user_id, chosen, page)
            if await self.writes.advance_due(stored, found, now):
                found = await stored.list_sessions(user_id, chosen, page)
            return found

        found = await self.writes.run(attempt)
        self.writes.seen(now)
        response = pb.ListFocusSessionsResponse(
            focus_sessions=[wire.session_to_pb(sessions.at(session, now)) for session in found[: page.size]],
            server_time=wire.timestamp(now),
        )
        return self.pages.cut(response, found, page, _page_key)

    async def UpdateFocusSession(
        self, request: pb.UpdateFocusSessionRequest, context: Context
    ) -> pb.UpdateFocusSessionResponse:
        update = partial(sessions.update, changes=wire.changes_from_pb(request))
        respond = partial(_respond, pb.UpdateFocusSessionResponse)
        return await self.writes.change(request, update, events.session_updated, respond)

    async def StartFocusSession(
        self, request: pb.StartFocusSessionRequest, context: Context
    ) -> pb.StartFocusSessionResponse:
        async def make(stored: SessionStore, act: Act) -> Focus:
            return sessions.start(await self.writes.read(stored, request, act.now), act)

        respond = partial(_respond, pb.StartFocusSessionResponse)
        return await self.writes.begin(request, make, events.session_started, respond)

    async def PauseFocusSession(
        self, request: pb.PauseFocusSessionRequest, context: Context
    ) -> pb.PauseFocusSessionResponse:
        respond = partial(_respond, pb.PauseFocusSessionResponse)
        return await self.writes.change(request, sessions.pause, events.session_paused, respond)

    async def ResumeFocusSession(
        self, request: pb.ResumeFocusSessionRequest, context: Context
    ) -> pb.ResumeFocusSessionResponse:
        async def make(stored: SessionStore, act: Act) -> Focus:
            return sessions.resume(await self.writes.read(stored, request, act.now), act)

        respond = partial(_respond, pb.ResumeFocusSessionResponse)
        return await self.writes.begin(request, make, events.session_resumed, respond)

    async def SkipInterval(self, request: pb.SkipIntervalRequest, context: Context) -> pb.SkipIntervalResponse:
        respond = partial(_respond, pb.SkipIntervalResponse)
        return await self.writes.change(request, sessions.skip, events.session_phase_changed, respond)

    async def FinishFocusSession(
        self, request: pb.FinishFocusSessionRequest, context: Context
    ) -> pb.FinishFocusSessionResponse:
        respond = partial(_respond, pb.FinishFocusSessionResponse)
        return await self.writes.change(request, sessions.finish, events.session_finished, respond)

    async def DeleteFocusSession(
        self, request: pb.DeleteFocusSessionRequest, context: Context
    ) -> pb.DeleteFocusSessionResponse:
        respond = partial(_respond, pb.DeleteFocusSessionResponse)
        return await self.writes.change(request, sessions.delete, events.session_deleted, respond)

    async def UndeleteFocusSession(
        self, request: pb.UndeleteFocusSessionRequest, context: Context
    ) -> pb.UndeleteFocusSessionResponse:
        respond = partial(_respond, pb.UndeleteFocusSessionResponse)
        try:
            return await self.writes.change(request, sessions.undelete, events.session_updated, respond)
        except SlotTaken:
            raise errors.OccurrenceStartedAgain(focus_session_id=request.focus_session_id) from None

    async def SyncProgress(self, request: pb.SyncProgressRequest, context: Context) -> pb.SyncProgressResponse:
        identity = current_call().identity
        others = await self.writes.presence.others(identity.user_id, identity.session_id)
        number, seconds = request.interval_number, request.progress_seconds
        result = SyncResult.CONFIRMED

        def decide(focus: Focus, act: Act) -> Focus:
            nonlocal result
            focus, result = gaps.sync(focus, act, number=number, progress_seconds=seconds, others=others)
            return focus

        def respond(focus: Focus, now: int) -> pb.SyncProgressResponse:
            return _respond(pb.SyncProgressResponse, focus, now, result=wire.SYNC_RESULT_TO_PB[result])

        return await self.writes.change(request, decide, events.session_updated, respond)

    async def ReportIdle(self, request: pb.ReportIdleRequest, context: Context) -> pb.ReportIdleResponse:
        decide = partial(gaps.report_idle, **wire.idle_from_pb(request))
        respond = partial(_respond, pb.ReportIdleResponse)
        return await self.writes.change(request, decide, events.session_updated, respond)

    async def AddInterruption(self, request: pb.AddInterruptionRequest, context: Context) -> pb.AddInterruptionResponse:
        cause, duration = wire.INTERRUPTION_FROM_PB[request.kind], request.duration_seconds * SECOND
        decide = partial(gaps.interrupt, cause=cause, duration=duration)
        respond = partial(_respond, pb.AddInterruptionResponse)
        return await self.writes.change(request, decide, events.session_updated, respond)

    async def AddSessionTask(self, request: pb.AddSessionTaskRequest, context: Context) -> pb.AddSessionTaskResponse:
        await self.links.check(wire.links_from_pb(request))

        def decide(focus: Focus, act: Act) -> Focus:
            [task] = wire.tasks_from_pb([request], [new_id()], session_id=focus.session.id, now=act.now)
            return tasks.add(focus, act, task)

        def respond(focus: Focus, now: int) -> pb.AddSessionTaskResponse:
            return _respond(pb.AddSessionTaskResponse, focus, now, session_task=wire.task_to_pb(focus.tasks[-1]))

        return await self.writes.change(request, decide, events.session_updated, respond)

    async def UpdateSessionTask(
        self, request: pb.UpdateSessionTaskRequest, context: Context
    ) -> pb.UpdateSessionTaskResponse:
        changes = wire.changes_from_pb(request)
        await self.links.check(wire.links_from_pb(request))
        decide = partial(tasks.update, task_id=request.session_task_id, changes=changes)
        respond = partial(_respond, pb.UpdateSessionTaskResponse)
        return await self.writes.change(request, decide, events.session_updated, respond)

    async def ReorderSessionTasks(
        self, request: pb.ReorderSessionTasksRequest, context: Context
    ) -> pb.ReorderSessionTasksResponse:
        decide = partial(tasks.reorder, task_ids=list(request.session_task_ids))
        respond = partial(_respond, pb.ReorderSessionTasksResponse)
        return await self.writes.change(request, decide, events.session_updated, respond)

    async def SelectSessionTask(
        self, request: pb.SelectSessionTaskRequest, context: Context
    ) -> pb.SelectSessionTaskResponse:
        decide = partial(tasks.select, task_id=request.session_task_id)
        respond = partial(_respond, pb.SelectSessionTaskResponse)
        return await self.writes.change(request, decide, events.session_updated, respond)

    async def RemoveSessionTask(
        self, request: pb.RemoveSessionTaskRequest, context: Context
    ) -> pb.RemoveSessionTaskResponse:
        decide = partial(tasks.remove, task_id=request.session_task_id)
        respond = partial(_respond, pb.RemoveSessionTaskResponse)
        return await self.writes.change(request, decide, events.session_updated, respond)

    async def WatchFocusSession(
        self, request: pb.WatchFocusSessionRequest, context: Context
    ) -> AsyncIterator[pb.WatchFocusSessionResponse]:
        async with aclosing(self.watches.states(current_call().identity, request.focus_session_id)) as states:
            async for focus, now in states:
                yield _respond(pb.WatchFocusSessionResponse, focus, now)


def _respond(kind: Callable[..., _Response], focus: Focus | None, now: int, **more: Any) -> _Response:
    """The response with a session, or without one, as it is at an instant."""
    message = None if focus is None else wire.focus_to_pb(focus, now)
    return kind(focus_session=message, server_time=wire.timestamp(now), **more)


def _page_key(session: Session) -> Key:
    """The sort key of a session in the list."""
    return [session.created_at, session.id]
