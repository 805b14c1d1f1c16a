"""The periodic tasks of auth, on a real database and Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable

import jwt
import pytest
import pytest_asyncio
from focusmesh.auth.v1 import session_service_pb2 as pb
from focusmesh.auth.v1.session_service_pb2_grpc import SessionServiceStub
from redis.asyncio import Redis

from mesh.database.pool import Database
from mesh.rpc.revocations import KEY, session_member
from mesh.runtime import clock
from services.auth.jobs import RevocationReseeder, SessionPurger
from services.auth.rules.sessions import REFUSED_FOR
from tests.contract.auth.requests import Account, refresh

pytestmark = pytest.mark.asyncio(loop_scope="module")

SignIn = Callable[..., Awaitable[Account]]


@pytest.fixture
def signed_out(signed_in: SignIn, sessions: SessionServiceStub) -> Callable[[], Awaitable[str]]:
    """Begins a session and ends it; its id."""

    async def build() -> str:
        account = await signed_in()
        await sessions.Logout(pb.LogoutRequest(refresh_token=account.tokens.refresh_token))
        return account.session_id

    return build


@pytest_asyncio.fixture(loop_scope="module")
async def emptied(valkey: str) -> AsyncIterator["Redis"]:
    """A Redis that has lost everything; no service uses it."""
    async with Redis.from_url(valkey.rpartition("/")[0] + "/1", decode_responses=True) as emptied:
        await emptied.flushdb()
        yield emptied


async def test_an_ended_session_is_restored_to_a_redis_that_lost_it(
    db: Database, redis: "Redis", emptied: "Redis", signed_out: Callable[[], Awaitable[str]]
) -> None:
    session = session_member(await signed_out())
    assert await RevocationReseeder(db, emptied, clock.now).run_once() >= 1
    assert await emptied.zscore(KEY, session) == pytest.approx(await redis.zscore(KEY, session), abs=0.001)


async def test_a_redis_that_lost_nothing_is_sent_nothing_and_compared_once_a_minute(
    db: Database, emptied: "Redis", signed_out: Callable[[], Awaitable[str]]
) -> None:
    await signed_out()
    instant = clock.now()
    reseeder = RevocationReseeder(db, emptied, lambda: instant)
    lost = await reseeder.run_once()
    assert lost >= 1
    assert await reseeder.run_once() == 0
    await emptied.flushdb()
    assert await reseeder.run_once() == 0
    instant += RevocationReseeder.longest_interval
    assert await reseeder.run_once() == lost


async def test_a_session_that_ended_longer_ago_than_a_token_lives_is_not_restored(
    db: Database, emptied: "Redis", signed_out: Callable[[], Awaitable[str]]
) -> None:
    await signed_out()
    assert await RevocationReseeder(db, emptied, lambda: clock.now() + REFUSED_FOR).run_once() == 0


async def test_an_account_that_an_operator_closed_is_restored_with_an_instant_after_its_tokens(
    db: Database, emptied: "Redis", signed_in: SignIn
) -> None:
    account = await signed_in()
    async with db.connection() as connection:
        await connection.execute(
            "UPDATE users SET is_active = false, updated_at = now() WHERE id = %s", (account.user.id,)
        )
    await RevocationReseeder(db, emptied, clock.now).run_once()
    prefix = f"user:{account.user.id}:"
    members = [str(member) for member in await emptied.zrange(KEY, 0, -1)]
    [before] = [member.removeprefix(prefix) for member in members if member.startswith(prefix)]
    assert int(before) > jwt.decode(account.tokens.access_token, options={"verify_signature": False})["iat"]


async def test_ended_sessions_are_kept_for_a_while_and_then_removed(
    db: Database, signed_in: SignIn, signed_out: Callable[[], Awaitable[str]], sessions: SessionServiceStub
) -> None:
    living, ended = await signed_in(), await signed_out()
    in_29_days = SessionPurger(db, lambda: clock.now() + 29 * clock.DAY, retention_days=30)
    await in_29_days.run_once()
    assert await _exists(db, ended)
    in_31_days = SessionPurger(db, lambda: clock.now() + 31 * clock.DAY, retention_days=30)
    while await in_31_days.run_once():
        pass
    assert not await _exists(db, ended)
    assert (await refresh(sessions, living.tokens.refresh_token)).refresh_token


async def _exists(db: Database, session_id: str) -> bool:
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT FROM refresh_tokens WHERE id = %s", (session_id,))
        return await cursor.fetchone() is not None
