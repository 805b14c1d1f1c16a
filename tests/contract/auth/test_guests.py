"""Guests: people without an account, with tokens of their own."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import jwt
import pytest
from focusmesh.auth.v1 import guest_service_pb2, guest_service_pb2_grpc, session_pb2, session_service_pb2_grpc
from focusmesh.auth.v1 import session_service_pb2 as pb
from focusmesh.auth.v1 import user_service_pb2 as user_pb
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from redis.asyncio import Redis

from mesh.rpc import revocations
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.auth.settings import Settings
from tests.contract.auth.requests import Account, bearer, process, refresh, refused
from tests.support.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Sessions = session_service_pb2_grpc.SessionServiceStub
UNAUTHENTICATED, EXHAUSTED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED
HOUR = 3600 * SECOND


async def a_guest(sessions: Sessions) -> session_pb2.Tokens:
    return (await sessions.CreateGuest(pb.CreateGuestRequest())).tokens


def claims_of(tokens: session_pb2.Tokens) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(tokens.access_token, options={"verify_signature": False})
    return claims


async def test_a_guest_gets_tokens_that_say_so_and_open_focus_sessions_only(sessions: Sessions) -> None:
    tokens = await a_guest(sessions)
    claims = claims_of(tokens)
    assert claims["guest"] == tokens.refresh_token_expire_time.seconds
    assert abs(tokens.refresh_token_expire_time.ToMicroseconds() - clock.now() - 48 * HOUR) < 60 * SECOND
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == 600
    assert claims["scope"] == "focus:read focus:write"


async def test_two_guests_are_two(sessions: Sessions) -> None:
    one, other = await a_guest(sessions), await a_guest(sessions)
    assert claims_of(one)["sub"] != claims_of(other)["sub"]


async def test_a_guest_is_refused_where_an_account_is_needed(sessions: Sessions, users: UserServiceStub) -> None:
    tokens = await a_guest(sessions)
    with refused("GUEST_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED, "focusmesh"):
        await users.GetMe(user_pb.GetMeRequest(), metadata=bearer(tokens))


async def test_refreshing_keeps_the_guest_and_its_end(sessions: Sessions) -> None:
    first = await a_guest(sessions)
    second = await refresh(sessions, first.refresh_token)
    again = await refresh(sessions, first.refresh_token)
    assert claims_of(second)["sub"] == claims_of(first)["sub"]
    assert claims_of(second)["guest"] == claims_of(first)["guest"]
    assert second.refresh_token == again.refresh_token != first.refresh_token
    assert second.refresh_token_expire_time == first.refresh_token_expire_time


async def test_of_twenty_calls_with_one_token_all_get_the_same_next_one(sessions: Sessions) -> None:
    first = await a_guest(sessions)
    made = await asyncio.gather(*(refresh(sessions, first.refresh_token) for _ in range(20)))
    assert len({tokens.refresh_token for tokens in made}) == 1


async def test_a_token_that_is_used_again_later_ends_the_guest(sessions: Sessions, redis: "Redis") -> None:
    first = await a_guest(sessions)
    second = await refresh(sessions, first.refresh_token)
    third = await refresh(sessions, second.refresh_token)
    with refused("REFRESH_TOKEN_REUSED", UNAUTHENTICATED):
        await refresh(sessions, first.refresh_token)
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, third.refresh_token)
    member = revocations.session_member(str(claims_of(first)["sid"]))
    assert await redis.zscore(revocations.KEY, member) is not None


async def test_logging_out_ends_the_guest_however_often(sessions: Sessions, redis: "Redis") -> None:
    tokens = await a_guest(sessions)
    for _ in range(2):
        await sessions.Logout(pb.LogoutRequest(refresh_token=tokens.refresh_token))
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, tokens.refresh_token)
    assert not [key async for key in redis.scan_iter("auth:guest:*")]


async def test_all_of_a_guest_is_in_redis_until_its_end_and_nothing_in_the_database(
    sessions: Sessions, redis: "Redis", valkey: str
) -> None:
    tokens = await a_guest(sessions)
    [key] = [key async for key in redis.scan_iter("auth:guest:*")]
    assert await redis.expiretime(key) == tokens.refresh_token_expire_time.seconds
    await redis.flushall()
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, tokens.refresh_token)


async def test_guests_of_one_address_are_bounded(sessions: Sessions) -> None:
    class_of_pupils = {str(claims_of(await a_guest(sessions))["sub"]) for _ in range(40)}
    assert len(class_of_pupils) == 40
    with refused("TOO_MANY_GUESTS", EXHAUSTED):
        await a_guest(sessions)
    elsewhere = (("x-envoy-external-address", "198.51.100.7"),)
    assert (await sessions.CreateGuest(pb.CreateGuestRequest(), metadata=elsewhere)).tokens.access_token


async def test_a_user_is_no_guest(signed_in: Callable[..., Awaitable[Account]], sessions: Sessions) -> None:
    account = await signed_in()
    assert "guest" not in claims_of(account.tokens)


@pytest.mark.parametrize("hours", [23, 73])
async def test_guests_live_24_to_72_hours(auth_settings: Callable[..., Settings], hours: int) -> None:
    with pytest.raises(ValueError, match="24 to 72"):
        process(auth_settings(guest_hours=hours))


async def test_an_access_token_does_not_outlive_the_guest(auth_settings: Callable[..., Settings], valkey: str) -> None:
    async with serving(process(auth_settings(guest_hours=24))) as channel:
        tokens = await a_guest(Sessions(channel))
    assert abs(tokens.refresh_token_expire_time.ToMicroseconds() - clock.now() - 24 * HOUR) < 60 * SECOND


async def test_no_user_reaches_the_rpcs_between_services(channel: grpc.aio.Channel, sessions: Sessions) -> None:
    guests, tokens = guest_service_pb2_grpc.GuestServiceStub(channel), await a_guest(sessions)
    with refused("INTERNAL_ONLY", grpc.StatusCode.PERMISSION_DENIED, "focusmesh"):
        await guests.EndGuest(
            guest_service_pb2.EndGuestRequest(user_id=new_id(), guest_id=str(claims_of(tokens)["sub"])),
            metadata=bearer(tokens),
        )
