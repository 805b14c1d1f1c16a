"""Devices of a user, and a clock that a test sets."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import psycopg
from focusmesh.pomodoro.v1 import focus_session_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.pomodoro.v1 import focus_session_service_pb2_grpc as rpc

from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

MINUTE = 60
PLANNED = focus_session_pb2.FOCUS_SESSION_STATE_PLANNED
RUNNING = focus_session_pb2.FOCUS_SESSION_STATE_RUNNING
PAUSED = focus_session_pb2.FOCUS_SESSION_STATE_PAUSED
FINISHED = focus_session_pb2.FOCUS_SESSION_STATE_FINISHED
PLAN = {
    "focus_minutes": 25,
    "short_break_minutes": 5,
    "long_break_minutes": 15,
    "long_break_interval": 4,
    "auto_start_breaks": True,
    "auto_start_focus": False,
}


class Time:
    """The clock of a service, which goes on when a test says so."""

    def __init__(self) -> None:
        self._now = clock.now()

    def now(self) -> int:
        """The instant, and a microsecond more each time."""
        self._now += 1
        return self._now

    def pass_(self, seconds: int) -> None:
        """Moves the clock."""
        self._now += seconds * SECOND


class Device(UserStub):
    """FocusSessionService as one device of a user calls it."""

    def __init__(self, channel: grpc.aio.Channel, signer: Signer, user_id: str = "", **claims: Any) -> None:
        self._channel = channel
        super().__init__(rpc.FocusSessionServiceStub(channel), pb, signer, user_id, **{"sid": new_id()} | claims)

    async def create(self, **fields: Any) -> focus_session_pb2.FocusSession:
        """A new session of 25 and 5 minutes."""
        session: focus_session_pb2.FocusSession = (await self.CreateFocusSession(**PLAN | fields)).focus_session
        return session

    def another(self, **claims: Any) -> "Device":
        """Another device of the user."""
        return Device(self._channel, self._signer, self.user_id, **claims)

    def another_user(self, **_: Any) -> "Device":
        """A device of another user."""
        return Device(self._channel, self._signer)

    @asynccontextmanager
    async def watching(self, session_id: str = "") -> AsyncIterator[AsyncIterator[pb.WatchFocusSessionResponse]]:
        """The states of a session, as the device sees them."""
        request = pb.WatchFocusSessionRequest(focus_session_id=session_id)
        call = self._stub.WatchFocusSession(request, metadata=self._metadata, timeout=60)
        try:
            yield call.__aiter__()
        finally:
            call.cancel()


def events(url: str, session_id: str) -> Sequence[tuple[str, int]]:
    """Type and version of the events of a session that wait in the outbox, in order."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT convert_from(value, 'UTF8')::jsonb ->> 'type', version FROM outbox"
            " WHERE convert_from(value, 'UTF8')::jsonb ->> 'subject' = %s ORDER BY seq",
            (session_id,),
        )
        return [(kind, version) for kind, version in rows]
