"""How sessions are read and written: what is due is applied first, by whoever reads, and at most one session runs."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, cast

from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from mesh.database.pool import Database, WriteConflict
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.rpc.call import current_call
from mesh.rpc.etag import etag_of
from mesh.rpc.pagination import Page
from mesh.runtime.clock import Clock
from services.pomodoro import events
from services.pomodoro.cache import ChangeSender, CurrentSessions, Guests, GuestSessions, Presence
from services.pomodoro.cache.current import UNKNOWN
from services.pomodoro.model import Act, AnotherRuns, Filter, Focus, Guest, Session, Status
from services.pomodoro.rules import sessions
from services.pomodoro.store.sessions import UserSessions

_Response = TypeVar("_Response", bound=Message)
_Result = TypeVar("_Result")
_MOST_ENDS = 4
"""Ends of intervals in one write: the events of four take 30 ms at most."""


class SessionStore(Protocol):
    """Where sessions are: of users in Postgres (`UserSessions`), of a guest in Redis (`GuestSessions`)."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """What is saved inside is committed together at its end."""

    async def get_focus(self, user_id: str, session_id: str) -> Focus:
        """A session with all that belongs to it, also a deleted one; raises FocusSessionNotFound."""

    async def get_state(self, user_id: str, session_id: str) -> Focus:
        """A session with its tasks at least; raises FocusSessionNotFound."""

    async def find_state(self, user_id: str, session_id: str) -> Focus | None:
        """The same; None when there is none."""

    async def get_focus_of_task(self, user_id: str, task_id: str) -> Focus:
        """The whole session that a task belongs to; raises SessionTaskNotFound."""

    async def find_current_state(self, user_id: str) -> Focus | None:
        """The running session, else the one paused last, with its tasks at least."""

    async def find_running(self, user_id: str) -> Focus | None:
        """The running session whole."""

    async def list_sessions(self, user_id: str, chosen: Filter, page: Page) -> list[Session]:
        """One session more than the page holds, the newest first."""

    async def save(self, focus: Focus, side_effects: SideEffects) -> None:
        """Writes a session and its side effects; raises WriteConflict and AnotherRuns."""

    async def store_response(self, side_effects: SideEffects) -> None:
        """Stores the response of a call that changed nothing."""


class Writes:
    """Reads and writes the sessions of the caller."""

    def __init__(
        self,
        db: Database,
        guests: Guests,
        cache: CurrentSessions,
        presence: Presence,
        changes: ChangeSender,
        clock: Clock,
    ) -> None:
        self.db, self.guests, self.cache = db, guests, cache
        self.presence, self.changes, self.clock = presence, changes, clock

    async def run(self, attempt: Callable[[SessionStore], Awaitable[_Result]]) -> _Result:
        """Runs read, decide, write on the sessions of the caller, again when another write came first."""
        identity = current_call().identity
        if identity.guest_until:
            return await self.guests.retry_on_conflict(Guest(identity.user_id, identity.guest_until), _once(attempt))
        return await self.db.retry_on_conflict(lambda connection: attempt(UserSessions(connection)))

    async def change(
        self,
        request: Any,
        decide: Callable[[Focus, Act], Focus],
        event: Callable[[Focus], Event],
        respond: Callable[[Focus, int], _Response],
    ) -> _Response:
        """Changes the session that a request names, by its id or by that of a task."""
        call, act = current_call(), self.act(request)

        async def attempt(stored: SessionStore) -> _Response:
            focus = await self.read(stored, request, act.now)
            changed = decide(focus, act)
            response = respond(changed, act.now)
            if changed is focus:
                await stored.store_response(call.side_effects(response))
            else:
                await self._save(stored, changed, call.side_effects(response, event(changed)))
            return response

        return await self.notify(self.run(attempt))

    async def begin(
        self,
        request: Any,
        make: Callable[[SessionStore, Act], Awaitable[Focus]],
        event: Callable[[Focus], Event],
        respond: Callable[[Focus, int], _Response],
    ) -> _Response:
        """Writes a session that runs from now on, and what becomes of the one that is running."""
        act = self.act(request)

        async def attempt(stored: SessionStore) -> _Response:
            begun = await make(stored, act)
            response = respond(begun, act.now)
            side_effects = current_call().side_effects(response, event(begun))
            await self.save_running(stored, begun, side_effects, act, request.when_running)
            return response

        return await self.notify(self.run(attempt))

    async def save_running(
        self, stored: SessionStore, begun: Focus, side_effects: SideEffects, act: Act, when_running: int
    ) -> None:
        """Saves a session that runs from now on, and what becomes of the one that is running; raises WriteConflict,
        AnotherSessionRunning and SlotTaken."""
        if when_running:
            await self._replace_running(stored, begun, side_effects, act, when_running)
        else:
            await self._save_if_none_runs(stored, begun, side_effects, act)
        self.changes.send(begun.session.user_id)

    async def read(self, stored: SessionStore, request: Any, now: int) -> Focus:
        """The session that a request names, as it is at an instant."""
        user_id = current_call().user_id
        if "focus_session_id" in request.DESCRIPTOR.fields_by_name:
            focus = await stored.get_focus(user_id, request.focus_session_id)
        else:
            focus = await stored.get_focus_of_task(user_id, request.session_task_id)
        return await self.advanced(stored, focus, now)

    async def advanced(self, stored: SessionStore, focus: Focus, now: int) -> Focus:
        """The session after the ends of intervals that are due, which are written; raises WriteConflict."""
        while sessions.is_due(focus.session, now):
            seen = await self.presence.last([focus.session.user_id])
            steps = list(sessions.advance(focus, now, seen.get(focus.session.user_id), _MOST_ENDS))
            ends = [events.session_phase_changed(step) for step in steps]
            await self._save(stored, steps[-1], SideEffects(ends, None, current_call().traceparent))
            focus = steps[-1]._replace(stored=None)
            focus = focus._replace(stored=focus)
        return focus

    async def shown(self, find: Callable[[SessionStore], Awaitable[Focus | None]], now: int) -> Focus | None:
        """A session with its tasks as it is at an instant; writes nothing but ends that are due."""

        async def attempt(stored: SessionStore) -> Focus | None:
            focus = await find(stored)
            if focus is not None and sessions.is_due(focus.session, now):
                whole = await stored.get_focus(focus.session.user_id, focus.session.id)
                await self.advanced(stored, whole, now)
                return await find(stored)
            return focus

        found = await self.run(attempt)
        self.seen(now)
        return found

    async def current(self, now: int) -> Focus | None:
        """The session that the caller is in, with its tasks, as it is at an instant; of a user from the cache."""
        user_id = current_call().user_id

        async def find(stored: SessionStore) -> Focus | None:
            return await stored.find_current_state(user_id)

        if current_call().identity.guest_until:
            return await self.shown(find, now)
        cached = await self.cache.find(user_id) if self.changes.sent(user_id) else UNKNOWN
        if cached.known and not (cached.focus and sessions.is_due(cached.focus.session, now)):
            self.seen(now)
            return cached.focus
        focus = await self.shown(find, now)
        self.cache.put(user_id, cached.stamp, focus)
        return focus

    async def advance_due(self, stored: SessionStore, found: list[Session], now: int) -> bool:
        """Writes the ends that are due of these sessions; whether there were any."""
        due = [session for session in found if sessions.is_due(session, now)]
        for session in due:
            await self.advanced(stored, await stored.get_focus(session.user_id, session.id), now)
        return bool(due)

    def act(self, request: Any) -> Act:
        """What the caller does, now."""
        etag = etag_of(request) if "etag" in request.DESCRIPTOR.fields_by_name else None
        return Act(self.clock(), _device_id(), etag)

    def seen(self, now: int) -> None:
        """Notes that a device of the caller is there; after the call, which may apply ends from before it."""
        self.presence.note(current_call().user_id, _device_id(), now)

    async def notify(self, change: Awaitable[_Response]) -> _Response:
        """Awaits a change; when it returns or raises, nothing that was cached before it is shown any more.

        One that fails or is cancelled may have committed before, or repeat a call whose replica died after the commit.
        """
        try:
            response = await change
        except BaseException:
            self.changes.send(current_call().user_id)
            raise
        finally:
            await self.changes.flush()
        self.seen(self.clock())
        return response

    async def _save(self, stored: SessionStore, focus: Focus, side_effects: SideEffects) -> None:
        """Commits a change and tells the watches; outside a transaction."""
        await stored.save(focus, side_effects)
        self.changes.send(focus.session.user_id)

    async def _save_if_none_runs(self, stored: SessionStore, begun: Focus, side_effects: SideEffects, act: Act) -> None:
        """Raises AnotherSessionRunning."""
        try:
            await stored.save(begun, side_effects)
        except AnotherRuns:
            running = await stored.find_running(begun.session.user_id)
            if running is not None:
                running = await self.advanced(stored, running, act.now)
            if running is None or running.session.status != Status.RUNNING or _of_one_slot(running, begun):
                raise WriteConflict from None
            raise sessions.another_running(running.session) from None

    async def _replace_running(
        self, stored: SessionStore, begun: Focus, side_effects: SideEffects, act: Act, when_running: int
    ) -> None:
        """Pauses or finishes the running session, and writes the one that runs from now on, or neither."""
        running = await stored.find_running(begun.session.user_id)
        if running is not None:
            running = await self.advanced(stored, running, act.now)
            if _of_one_slot(running, begun):
                raise WriteConflict
        try:
            async with stored.transaction():
                if running is not None and running.session.status == Status.RUNNING:
                    await self._stop(stored, running, act, when_running)
                await stored.save(begun, side_effects)
        except AnotherRuns:
            raise WriteConflict from None
        outbox.wake()

    async def _stop(self, stored: SessionStore, running: Focus, act: Act, when_running: int) -> None:
        act = act._replace(etag=None)
        if when_running == pb.WHEN_RUNNING_FINISH_CURRENT:
            stopped = sessions.finish(running, act)
            event = events.session_finished(stopped)
        else:
            stopped = sessions.pause(running, act)
            event = events.session_paused(stopped)
        await stored.save(stopped, SideEffects([event], None, current_call().traceparent))


def _device_id() -> str:
    """The sign-in of the device that calls, or for which another service calls; empty when that is not known."""
    call = current_call()
    device_id: str = call.request.device_id if call.calling_service else call.identity.session_id
    return device_id


def _of_one_slot(one: Focus, other: Focus) -> bool:
    """Whether two sessions are of the same occurrence of a calendar."""
    slots = {(each.session.original_event_id, each.session.slot) for each in (one, other)}
    return len(slots) == 1 and one.session.slot is not None


def _once(attempt: Callable[[SessionStore], Awaitable[_Result]]) -> Callable[[GuestSessions], Awaitable[_Result]]:
    """An attempt that returns the response that is stored for the current request, when there is one."""

    async def attempt_once(stored: GuestSessions) -> _Result:
        call = current_call()
        content = stored.response_to(call.method, call.request)
        return await attempt(stored) if content is None else cast(_Result, _response(call.method, content))

    return attempt_once


def _response(method: str, content: bytes) -> Message:
    """The response of a method, such as `focusmesh.pomodoro.v1.FocusSessionService/PauseFocusSession`."""
    service, _, name = method.partition("/")
    return GetMessageClass(
        descriptor_pool.Default().FindServiceByName(service).methods_by_name[name].output_type
    ).FromString(content)
