"""Whoever may have changed sessions says so, however the call ends."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from focusmesh.auth.v1.guest_service_pb2 import GetGuestResponse
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.pomodoro.v1.guest_claim_service_pb2 import ClaimGuestSessionsRequest
from redis.exceptions import ConnectionError as RedisConnectionError

from harness.waiting import until
from mesh.rpc.call import CallContext, set_current_call
from mesh.rpc.identity import NOBODY
from mesh.runtime.errors import VersionConflict
from mesh.runtime.ids import new_id
from services.pomodoro import events
from services.pomodoro.cache import ChangeSender, CurrentSessions, Watches
from services.pomodoro.handlers.claims import GuestClaimHandlers
from services.pomodoro.handlers.writes import Writes
from services.pomodoro.model import Focus
from services.pomodoro.rules import sessions
from tests.unit.pomodoro.drive import a_session

USER, SESSION = new_id(), new_id()
ENDS: list[BaseException] = [asyncio.CancelledError(), VersionConflict(etag="v2")]


class Ended:
    """A database whose call ends with an exception, after a commit perhaps."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def retry_on_conflict(self, _decide: Callable[[Any], Awaitable[Any]]) -> None:
        raise self._error


class Auth:
    """GuestService, which knows every guest."""

    async def GetGuest(self, _request: object) -> GetGuestResponse:
        return GetGuestResponse(guest_id=new_id(), active=True)


def a_sender() -> ChangeSender:
    redis = cast(Any, None)
    return ChangeSender(redis, Watches(10), CurrentSessions(redis))


def the_writes(error: BaseException, sender: ChangeSender) -> Writes:
    nothing = cast(Any, SimpleNamespace())
    return Writes(cast(Any, Ended(error)), nothing, nothing, nothing, sender, lambda: 1)


def the_call(request: Any) -> None:
    call = CallContext("package.Service/Method", {}, "", request, cast(Any, None))
    call.identity = NOBODY._replace(user_id=USER)
    set_current_call(call)


@pytest.mark.parametrize("error", ENDS, ids=["cancelled", "failed"])
async def test_a_change_that_did_not_return_may_have_committed(error: BaseException) -> None:
    sender = a_sender()
    request = pb.PauseFocusSessionRequest(focus_session_id=SESSION)
    the_call(request)
    with sender._watches.open(USER) as changed:
        with pytest.raises(type(error)):
            await the_writes(error, sender).change(
                request, sessions.pause, events.session_paused, lambda _focus, _now: pb.PauseFocusSessionResponse()
            )
        assert changed.is_set()
    assert sender._pending == {USER}


@pytest.mark.parametrize("error", ENDS, ids=["cancelled", "failed"])
async def test_a_claim_that_did_not_return_may_have_committed(error: BaseException) -> None:
    sender, request = a_sender(), ClaimGuestSessionsRequest(guest_refresh_token="a token")
    writes = the_writes(error, sender)
    handlers = GuestClaimHandlers(writes.db, writes.guests, cast(Any, Auth()), writes, lambda: None)
    the_call(request)
    with pytest.raises(type(error)):
        await handlers.ClaimGuestSessions(request, cast(Any, None))
    assert sender._pending == {USER}


class Redis:
    """Takes changes, unless it is away; holds what was cached before, and counts how often that is asked for."""

    away = False

    async def __aenter__(self) -> "Redis":
        return self

    async def __aexit__(self, *_error: object) -> None:
        return None

    def pipeline(self, **_options: bool) -> "Redis":
        return self

    def set(self, *_arguments: object, **_options: object) -> None:
        return None

    def publish(self, *_arguments: object) -> None:
        return None

    async def execute(self) -> None:
        if self.away:
            raise RedisConnectionError

    async def mget(self, *_keys: str) -> tuple[str, str]:
        return "s", "snull"


class Stored:
    """A database in which the user is in a session."""

    def __init__(self, focus: Focus) -> None:
        self._focus = focus

    async def retry_on_conflict(self, _decide: Callable[[Any], Awaitable[Any]]) -> Focus:
        return self._focus


async def test_what_was_cached_is_not_shown_before_a_change_was_sent() -> None:
    """Redis comes back with what it held before the change, and the response to the change is out."""
    redis = cast(Any, Redis())
    cache, watches, nobody = CurrentSessions(redis), Watches(10), cast(Any, SimpleNamespace(note=lambda *_: None))
    sender, focus = ChangeSender(redis, watches, cache), Focus(a_session(), (), ())
    writes = Writes(cast(Any, Stored(focus)), nobody, cache, nobody, sender, lambda: 1)
    the_call(pb.GetCurrentFocusSessionRequest())
    sender.start()
    await until(lambda: sender.sent(USER), "the sender works")
    assert await writes.current(1) is None
    redis.away = True
    sender.send(USER)
    assert await writes.current(1) is focus
    await until(lambda: not sender.sent(new_id()), "the sender fails")
    redis.away = False
    assert await writes.current(1) is focus
    before = asyncio.get_running_loop().time()
    await until(lambda: sender.sent(USER), "the change is sent")
    assert asyncio.get_running_loop().time() - before < 1
    await sender.close()
