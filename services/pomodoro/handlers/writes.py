"""How sessions are read and written: what is due is applied first, by whoever reads, and at most one session runs."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from google.protobuf.message import Message

from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.rpc.call import current_call
from mesh.rpc.change import change
from mesh.rpc.etag import etag_of
from mesh.runtime.clock import Clock
from services.pomodoro import events, store
from services.pomodoro.cache import ChangeSender, Presence
from services.pomodoro.model import Act, Focus, Session, Status
from services.pomodoro.rules import sessions

_Response = TypeVar("_Response", bound=Message)
_Read: TypeAlias = Callable[[Connection], Awaitable[Focus]]
_MOST_ENDS = 4
"""Ends of intervals in one write: the events of four take 30 ms at most."""


class Writes:
    """Reads and writes the sessions of the caller."""

    def __init__(self, db: Database, presence: Presence, changes: ChangeSender, clock: Clock) -> None:
        self.db, self.presence, self.changes, self.clock = db, presence, changes, clock

    async def change(
        self,
        request: Any,
        decide: Callable[[Focus, Act], Focus],
        event: Callable[[Focus], Event],
        respond: Callable[[Focus, int], _Response],
    ) -> _Response:
        """Changes the session that a request names, by its id or by that of a task."""
        act = self.act(request)
        response = await change(
            self.db,
            read=lambda connection: self.read(connection, request, act.now),
            decide=lambda focus: decide(focus, act),
            respond=lambda focus: respond(focus, act.now),
            save=self._save,
            event=event,
        )
        self.seen(self.clock())
        return response

    async def begin(
        self,
        request: Any,
        make: Callable[[Connection, Act], Awaitable[Focus]],
        event: Callable[[Focus], Event],
        respond: Callable[[Focus, int], _Response],
    ) -> _Response:
        """Writes a session that runs from now on, and what becomes of the one that is running."""
        call, act = current_call(), self.act(request)

        async def attempt(connection: Connection) -> _Response:
            begun = await make(connection, act)
            response = respond(begun, act.now)
            side_effects = call.side_effects(response, event(begun))
            if request.when_running:
                await self._replace_running(connection, begun, side_effects, act, request.when_running)
            else:
                await self._save_if_none_runs(connection, begun, side_effects, act)
            return response

        response = await self.db.retry_on_conflict(attempt)
        self.changes.send(call.user_id)
        self.seen(self.clock())
        return response

    async def read(self, connection: Connection, request: Any, now: int) -> Focus:
        """The session that a request names, as it is at an instant."""
        user_id = current_call().user_id
        if "focus_session_id" in request.DESCRIPTOR.fields_by_name:
            focus = await store.get_focus(connection, user_id, request.focus_session_id)
        else:
            focus = await store.get_focus_of_task(connection, user_id, request.session_task_id)
        return await self.advanced(connection, focus, now)

    async def advanced(self, connection: Connection, focus: Focus, now: int) -> Focus:
        """The session after the ends of intervals that are due, which are written; raises WriteConflict."""
        while sessions.is_due(focus.session, now):
            seen = await self.presence.last([focus.session.user_id])
            steps = list(sessions.advance(focus, now, seen.get(focus.session.user_id), _MOST_ENDS))
            ends = [events.session_phase_changed(step) for step in steps]
            await self._save(connection, steps[-1], SideEffects(ends, None, current_call().traceparent))
            focus = steps[-1]._replace(stored=None)
            focus = focus._replace(stored=focus)
        return focus

    async def shown(self, find: Callable[[Connection], Awaitable[Focus | None]], now: int) -> Focus | None:
        """A session with its tasks as it is at an instant; writes nothing but ends that are due."""

        async def attempt(connection: Connection) -> Focus | None:
            focus = await find(connection)
            if focus is not None and sessions.is_due(focus.session, now):
                whole = await store.get_focus(connection, focus.session.user_id, focus.session.id)
                await self.advanced(connection, whole, now)
                return await find(connection)
            return focus

        found = await self.db.retry_on_conflict(attempt)
        self.seen(now)
        return found

    async def advance_due(self, connection: Connection, found: list[Session], now: int) -> bool:
        """Writes the ends that are due of these sessions; whether there were any."""
        due = [session for session in found if sessions.is_due(session, now)]
        for session in due:
            await self.advanced(connection, await store.get_focus(connection, session.user_id, session.id), now)
        return bool(due)

    def act(self, request: Any) -> Act:
        """What the caller does, now."""
        etag = etag_of(request) if "etag" in request.DESCRIPTOR.fields_by_name else None
        return Act(self.clock(), current_call().identity.session_id, etag)

    def seen(self, now: int) -> None:
        """Notes that a device of the caller is there; after the call, which may apply ends from before it."""
        identity = current_call().identity
        self.presence.note(identity.user_id, identity.session_id, now)

    async def _save(self, connection: Connection, focus: Focus, side_effects: SideEffects) -> None:
        """Commits a change and tells the watches; outside a transaction."""
        await store.save(connection, focus, side_effects)
        self.changes.send(focus.session.user_id)

    async def _save_if_none_runs(
        self, connection: Connection, begun: Focus, side_effects: SideEffects, act: Act
    ) -> None:
        """Raises AnotherSessionRunning."""
        try:
            await store.save(connection, begun, side_effects)
        except store.AnotherRuns:
            running = await store.find_running(connection, begun.session.user_id)
            if running is not None:
                running = await self.advanced(connection, running, act.now)
            if running is None or running.session.status != Status.RUNNING:
                raise WriteConflict from None
            raise sessions.another_running(running.session) from None

    async def _replace_running(
        self, connection: Connection, begun: Focus, side_effects: SideEffects, act: Act, when_running: int
    ) -> None:
        """Pauses or finishes the running session, and writes the one that runs from now on, or neither."""
        running = await store.find_running(connection, begun.session.user_id)
        if running is not None:
            running = await self.advanced(connection, running, act.now)
        try:
            async with connection.transaction():
                if running is not None and running.session.status == Status.RUNNING:
                    await self._stop(connection, running, act, when_running)
                await store.save(connection, begun, side_effects)
        except store.AnotherRuns:
            raise WriteConflict from None
        outbox.wake()

    async def _stop(self, tx: Connection, running: Focus, act: Act, when_running: int) -> None:
        act = act._replace(etag=None)
        if when_running == pb.WHEN_RUNNING_FINISH_CURRENT:
            stopped = sessions.finish(running, act)
            event = events.session_finished(stopped)
        else:
            stopped = sessions.pause(running, act)
            event = events.session_paused(stopped)
        await store.save(tx, stopped, SideEffects([event], None, current_call().traceparent))
