"""SessionService: signing in, going on, ending."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import pytest
from argon2 import PasswordHasher
from focusmesh.auth.v1 import session_service_pb2 as pb
from focusmesh.auth.v1 import user_pb2, user_service_pb2
from focusmesh.auth.v1.session_service_pb2_grpc import SessionServiceStub
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redis.asyncio import Redis

from harness.waiting import until
from mesh.database.pool import Database
from mesh.rpc.revocations import KEY, session_member
from mesh.runtime.ids import new_id
from services.auth.cache import ACCOUNT
from services.auth.settings import Settings
from tests.contract.auth.requests import (
    NOWHERE,
    PASSWORD,
    Account,
    bearer,
    login,
    process,
    refresh,
    refused,
    without_redis,
)
from tests.support.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SignIn = Callable[..., Awaitable[Account]]
Register = Callable[..., Awaitable[user_pb2.User]]
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


async def age(db: Database, session_id: str, seconds: int) -> None:
    """Lets time pass since the newest refresh token was made."""
    async with db.connection() as connection:
        await connection.execute(
            "UPDATE refresh_tokens SET issued_at = issued_at - make_interval(secs => %(seconds)s),"
            " expires_at = expires_at - make_interval(secs => %(seconds)s) WHERE id = %(session_id)s",
            {"seconds": seconds, "session_id": session_id},
        )


async def is_refused(users: UserServiceStub, account: Account) -> bool:
    try:
        await users.GetMe(user_service_pb2.GetMeRequest(), metadata=account.bearer)
    except grpc.aio.AioRpcError as error:
        return error.code() is UNAUTHENTICATED
    return False


async def until_refused(users: UserServiceStub, account: Account) -> None:
    await until(lambda: is_refused(users, account), "the access token is refused", seconds=2)


async def retry_delay(call: Awaitable[object]) -> float:
    """Seconds after which a call that is refused may be tried again."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    status, info = rpc_status.from_call(raised.value), error_details_pb2.RetryInfo()  # type: ignore[arg-type]  # the same interface
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    return info.retry_delay.ToMilliseconds() / 1000


async def test_a_login_gives_tokens_with_which_the_account_can_be_read(
    users: UserServiceStub, sessions: SessionServiceStub, a_user: Register
) -> None:
    user = await a_user(email=f"Ann.{new_id()}@Example.com")
    tokens = await login(sessions, user.email.lower())
    assert (await users.GetMe(user_service_pb2.GetMeRequest(), metadata=bearer(tokens))).user == user
    lifetime = tokens.access_token_expire_time.seconds - time.time()
    assert 590 < lifetime <= 600
    assert tokens.refresh_token_expire_time.seconds - time.time() > 29.9 * 86400


async def test_every_login_begins_another_session(sessions: SessionServiceStub, a_user: Register) -> None:
    user = await a_user()
    first, second = Account(user, await login(sessions, user.email)), Account(user, await login(sessions, user.email))
    assert first.session_id != second.session_id
    assert first.tokens.refresh_token != second.tokens.refresh_token


async def test_a_wrong_password_an_unknown_address_and_a_closed_account_get_the_same_error(
    sessions: SessionServiceStub, a_user: Register, db: Database
) -> None:
    user, closed = await a_user(), await a_user()
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET deleted_at = now() WHERE id = %s", (closed.id,))
    responses = []
    for email, password in (
        (user.email, "another password"),
        (f"{new_id()}@example.com", PASSWORD),
        (closed.email, PASSWORD),
    ):
        with refused("CREDENTIALS_WRONG", UNAUTHENTICATED) as error:
            await login(sessions, email, password)
        responses.append(error)
    assert responses[0] == responses[1] == responses[2]


async def test_after_the_free_attempts_an_account_is_delayed_even_for_the_right_password(
    sessions: SessionServiceStub, a_user: Register, redis: "Redis"
) -> None:
    user = await a_user()
    for _ in range(ACCOUNT.free):
        with refused("CREDENTIALS_WRONG", UNAUTHENTICATED):
            await login(sessions, user.email, "wrong")
    with refused("TOO_MANY_ATTEMPTS", grpc.StatusCode.RESOURCE_EXHAUSTED):
        await login(sessions, user.email)
    assert 0 < await retry_delay(login(sessions, user.email)) <= 1
    assert not [key async for key in redis.scan_iter("*") if user.email in key]
    await until(lambda: is_let_in(sessions, user.email), "the delay has passed", seconds=5)


async def is_let_in(sessions: SessionServiceStub, email: str) -> bool:
    try:
        return bool((await login(sessions, email)).access_token)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 (waited out)
        return False


async def test_an_unknown_address_is_delayed_like_a_known_one(sessions: SessionServiceStub) -> None:
    email = f"{new_id()}@example.com"
    for _ in range(ACCOUNT.free):
        with refused("CREDENTIALS_WRONG", UNAUTHENTICATED):
            await login(sessions, email)
    with refused("TOO_MANY_ATTEMPTS", grpc.StatusCode.RESOURCE_EXHAUSTED):
        await login(sessions, email)


async def test_attempts_are_counted_by_the_address_that_the_gateway_saw(
    sessions: SessionServiceStub, redis: "Redis"
) -> None:
    with refused("CREDENTIALS_WRONG", UNAUTHENTICATED):
        await sessions.Login(
            pb.LoginRequest(email=f"{new_id()}@example.com", password="wrong"),
            metadata=(("x-envoy-external-address", "203.0.113.77"),),
        )
    assert await redis.exists("auth:attempts:network:203.0.113.0/24")


async def test_a_password_hashed_with_other_parameters_is_hashed_anew_at_login(
    sessions: SessionServiceStub, a_user: Register, db: Database
) -> None:
    user = await a_user()
    weaker = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET password_hash = %s WHERE id = %s", (weaker, user.id))
        await login(sessions, user.email)
        cursor = await connection.execute("SELECT password_hash FROM users WHERE id = %s", (user.id,))
        [(renewed,)] = await cursor.fetchall()
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await login(sessions, user.email)).access_token


async def test_only_a_keyed_hash_of_a_refresh_token_is_stored(signed_in: SignIn, db: Database) -> None:
    account = await signed_in()
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT row_to_json(refresh_tokens)::text FROM refresh_tokens WHERE id = %s", (account.session_id,)
        )
        [(row,)] = await cursor.fetchall()
    assert account.tokens.refresh_token not in row
    assert account.tokens.refresh_token[:40] not in row


async def test_a_refresh_gives_new_tokens_of_the_same_session(
    users: UserServiceStub, sessions: SessionServiceStub, signed_in: SignIn
) -> None:
    account = await signed_in()
    renewed = account._replace(tokens=await refresh(sessions, account.tokens.refresh_token))
    assert renewed.session_id == account.session_id
    assert renewed.tokens.refresh_token != account.tokens.refresh_token
    assert renewed.tokens.access_token != account.tokens.access_token
    assert (await users.GetMe(user_service_pb2.GetMeRequest(), metadata=renewed.bearer)).user == account.user


async def test_a_session_goes_on_through_many_refreshes(sessions: SessionServiceStub, signed_in: SignIn) -> None:
    token = (await signed_in()).tokens.refresh_token
    seen = {token}
    for _ in range(10):
        token = (await refresh(sessions, token)).refresh_token
        seen.add(token)
    assert len(seen) == 11


async def test_of_20_refreshes_of_one_token_at_once_all_get_the_one_next_token(
    sessions: SessionServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in()
    responses = await asyncio.gather(*(refresh(sessions, account.tokens.refresh_token) for _ in range(20)))
    assert len({response.refresh_token for response in responses}) == 1
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT generation, revoked_at FROM refresh_tokens WHERE id = %s", (account.session_id,)
        )
        assert await cursor.fetchall() == [(2, None)]
    assert (await refresh(sessions, responses[0].refresh_token)).refresh_token


async def test_the_token_before_the_newest_is_exchanged_for_the_newest_for_30_seconds(
    sessions: SessionServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in()
    newest = await refresh(sessions, account.tokens.refresh_token)
    await age(db, account.session_id, 25)
    again = await refresh(sessions, account.tokens.refresh_token)
    assert again.refresh_token == newest.refresh_token
    assert again.refresh_token_expire_time.seconds == newest.refresh_token_expire_time.seconds - 25


async def test_a_token_that_is_used_again_later_ends_its_session(
    users: UserServiceStub, sessions: SessionServiceStub, signed_in: SignIn, db: Database
) -> None:
    account, other = await signed_in(), await signed_in()
    newest = await refresh(sessions, account.tokens.refresh_token)
    await age(db, account.session_id, 31)
    with refused("REFRESH_TOKEN_REUSED", UNAUTHENTICATED):
        await refresh(sessions, account.tokens.refresh_token)
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, newest.refresh_token)
    await until_refused(users, account._replace(tokens=newest))
    assert (await refresh(sessions, other.tokens.refresh_token)).refresh_token


async def test_an_old_token_ends_its_session_even_at_once(sessions: SessionServiceStub, signed_in: SignIn) -> None:
    first = (await signed_in()).tokens.refresh_token
    second = (await refresh(sessions, first)).refresh_token
    third = (await refresh(sessions, second)).refresh_token
    with refused("REFRESH_TOKEN_REUSED", UNAUTHENTICATED):
        await refresh(sessions, first)
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, third)


async def test_a_session_that_was_not_used_for_30_days_has_ended(
    sessions: SessionServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in()
    await age(db, account.session_id, 30 * 86400 + 1)
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, account.tokens.refresh_token)


async def test_a_closed_account_gets_no_new_tokens(
    sessions: SessionServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in()
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET is_active = false WHERE id = %s", (account.user.id,))
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, account.tokens.refresh_token)


@pytest.mark.parametrize("token", ["x", "fmr_", "fmr_" + "A" * 70, "Ä" * 70])
async def test_a_token_that_was_never_issued_is_invalid(sessions: SessionServiceStub, token: str) -> None:
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, token)
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await sessions.Logout(pb.LogoutRequest(refresh_token=token))


@pytest.mark.parametrize("token", ["", "x" * 513])
async def test_a_token_out_of_its_bounds_names_its_field(sessions: SessionServiceStub, token: str) -> None:
    with refused("INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT, "focusmesh") as error:
        await refresh(sessions, token)
    assert error.fields == ["refresh_token"]


async def test_after_a_logout_no_token_of_the_session_is_accepted_within_two_seconds(
    users: UserServiceStub, sessions: SessionServiceStub, signed_in: SignIn, redis: "Redis"
) -> None:
    account, other = await signed_in(), await signed_in()
    await sessions.Logout(pb.LogoutRequest(refresh_token=account.tokens.refresh_token))
    await until_refused(users, account)
    with refused("TOKEN_REVOKED", UNAUTHENTICATED, "focusmesh"):
        await users.GetMe(user_service_pb2.GetMeRequest(), metadata=account.bearer)
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, account.tokens.refresh_token)
    forgotten = await redis.zscore(KEY, session_member(account.session_id))
    assert forgotten is not None
    assert 600 <= forgotten - time.time() <= 660
    assert (await users.GetMe(user_service_pb2.GetMeRequest(), metadata=other.bearer)).user == other.user


async def test_a_logout_can_be_repeated_and_does_not_touch_other_sessions_of_the_user(
    users: UserServiceStub, sessions: SessionServiceStub, signed_in: SignIn
) -> None:
    account = await signed_in()
    other = account._replace(tokens=await login(sessions, account.user.email))
    for _ in range(2):
        await sessions.Logout(pb.LogoutRequest(refresh_token=account.tokens.refresh_token))
    assert (await users.GetMe(user_service_pb2.GetMeRequest(), metadata=other.bearer)).user == account.user


async def test_a_logout_beside_a_refresh_ends_the_session_whichever_comes_first(
    sessions: SessionServiceStub, signed_in: SignIn
) -> None:
    for _ in range(5):
        token = (await signed_in()).tokens.refresh_token
        responses = await asyncio.gather(
            refresh(sessions, token),
            sessions.Logout(pb.LogoutRequest(refresh_token=token)),
            return_exceptions=True,
        )
        newest = responses[0].refresh_token if not isinstance(responses[0], BaseException) else token
        with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
            await refresh(sessions, newest)


async def test_more_logins_at_once_than_the_queue_holds_are_refused_at_once(
    auth_settings: Callable[..., Settings],
) -> None:
    async with serving(process(auth_settings(password_threads=1, password_queue=2))) as channel:
        sessions = SessionServiceStub(channel)

        async def attempt() -> grpc.StatusCode:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await login(sessions, f"{new_id()}@example.com")
            return raised.value.code()

        codes = await asyncio.gather(*(attempt() for _ in range(30)))
    assert set(codes) == {UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_a_login_that_was_not_checked_is_not_counted_as_an_attempt(
    auth_settings: Callable[..., Settings], redis: "Redis"
) -> None:
    email, network = f"{new_id()}@example.com", "198.51.100.0/24"
    async with serving(process(auth_settings(password_threads=1, password_queue=0))) as channel:
        sessions = SessionServiceStub(channel)

        async def attempt() -> grpc.StatusCode:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await sessions.Login(
                    pb.LoginRequest(email=email, password="wrong"),
                    metadata=(("x-envoy-external-address", "198.51.100.1"),),
                )
            return raised.value.code()

        codes = await asyncio.gather(*(attempt() for _ in range(ACCOUNT.free)))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
    counted = await redis.hget(f"auth:attempts:network:{network}", "failures")
    assert float(counted or 0) == pytest.approx(codes.count(UNAUTHENTICATED), abs=0.5)


async def test_without_redis_nobody_is_logged_in_or_out_and_sessions_go_on(
    auth_settings: Callable[..., Settings], sessions: SessionServiceStub, signed_in: SignIn
) -> None:
    account = await signed_in()
    async with without_redis(auth_settings(redis_url=NOWHERE)) as channel:
        without = SessionServiceStub(channel)
        with refused("UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, "focusmesh"):
            await login(without, account.user.email)
        with refused("UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, "focusmesh"):
            await without.Logout(pb.LogoutRequest(refresh_token=account.tokens.refresh_token))
        renewed = await refresh(without, account.tokens.refresh_token)
    assert (await refresh(sessions, renewed.refresh_token)).refresh_token


async def test_while_redis_is_full_sessions_end_and_go_on_and_new_ones_wait_until_there_is_room_again(
    sessions: SessionServiceStub, signed_in: SignIn, redis: Redis
) -> None:
    account, another = await signed_in(), await signed_in()
    most = (await redis.config_get("maxmemory"))["maxmemory"]
    await redis.config_set("maxmemory", 1)
    try:
        with refused("UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, "focusmesh"):
            await login(sessions, account.user.email)
        await refresh(sessions, account.tokens.refresh_token)
        await sessions.Logout(pb.LogoutRequest(refresh_token=another.tokens.refresh_token))
        assert await redis.zscore(KEY, session_member(another.session_id)) is not None
    finally:
        await redis.config_set("maxmemory", most)
    await login(sessions, account.user.email)
