"""Sessions in the database: one chain each, however many ask at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.runtime.clock import DAY, SECOND, now
from mesh.runtime.ids import new_id
from services.auth.errors import RefreshTokenInvalid
from services.auth.model import SESSION_LIFE, Session, User
from services.auth.rules import sessions
from services.auth.store import logins

UserBuilder = Callable[..., Awaitable[User]]
SessionBuilder = Callable[..., Awaitable[Session]]


async def exchange(
    connection: Connection, session: Session, old: str, new: str, *, at: int | None = None
) -> Session | None:
    at = at or now()
    return await logins.exchange_token(connection, session.id, old, new, now=at, expires=at + SESSION_LIFE)


async def row_of(connection: Connection, session: Session) -> Any:
    """Every column of a session."""
    cursor = await connection.execute("SELECT * FROM refresh_tokens WHERE id = %s", (session.id,))
    return await cursor.fetchone()


async def test_a_session_comes_back_as_it_was_written(connection: Connection, a_session: SessionBuilder) -> None:
    session = await a_session()
    assert await logins.get_session(connection, session.id) == session


async def test_a_session_that_is_not_there_or_whose_account_is_closed_is_invalid(
    connection: Connection, a_session: SessionBuilder, close_user: Callable[[str], Awaitable[None]]
) -> None:
    session = await a_session()
    await close_user(session.user_id)
    for session_id in (session.id, new_id()):
        with pytest.raises(RefreshTokenInvalid):
            await logins.get_session(connection, session_id)


async def test_no_session_begins_for_a_closed_account(
    connection: Connection, a_user: UserBuilder, close_user: Callable[[str], Awaitable[None]]
) -> None:
    user = await a_user()
    await close_user(user.id)
    assert not await logins.insert_session(connection, sessions.begin(new_id(), user.id, now=now()), "hash", 1)


async def test_an_exchange_moves_the_chain_and_the_end_of_the_session(
    connection: Connection, a_session: SessionBuilder
) -> None:
    session, later = await a_session(), now() + DAY
    moved = await exchange(connection, session, "first", "second", at=later)
    assert moved == session._replace(generation=2, issued_at=later, expires_at=later + SESSION_LIFE)
    assert await logins.get_session(connection, session.id) == moved


async def test_of_20_who_exchange_one_token_at_once_one_does(db: Database, a_session: SessionBuilder) -> None:
    session = await a_session()

    async def one() -> Session | None:
        async with db.connection() as connection:
            return await exchange(connection, session, "first", "second")

    exchanged = await asyncio.gather(*(one() for _ in range(20)))
    assert sum(result is not None for result in exchanged) == 1
    async with db.connection() as connection:
        found = await logins.get_session(connection, session.id)
    assert found.generation == 2


@pytest.mark.parametrize("why", ["exchanged", "ended", "expired", "closed"])
async def test_a_token_that_does_not_hold_changes_nothing(
    connection: Connection, a_session: SessionBuilder, close_user: Callable[[str], Awaitable[None]], why: str
) -> None:
    session = await a_session()
    at = now()
    if why == "exchanged":
        await exchange(connection, session, "first", "second")
    elif why == "ended":
        await logins.end_session(connection, session.id, at)
    elif why == "expired":
        at = session.expires_at
    else:
        await close_user(session.user_id)
    before = await row_of(connection, session)
    assert await exchange(connection, session, "first", "third", at=at) is None
    assert await row_of(connection, session) == before


async def test_a_session_that_is_ended_while_its_token_is_exchanged_stays_ended(
    db: Database, a_session: SessionBuilder
) -> None:
    for _ in range(10):
        session = await a_session()

        async def ending(session: Session = session) -> None:
            async with db.connection() as connection:
                await logins.end_session(connection, session.id, now())

        async def exchanging(session: Session = session) -> None:
            async with db.connection() as connection:
                await exchange(connection, session, "first", "second")

        await asyncio.gather(exchanging(), ending(), exchanging())
        async with db.connection() as connection:
            found = await logins.get_session(connection, session.id)
            assert found.revoked_at is not None
            assert await exchange(connection, session, "second", "third") is None


async def test_a_session_ends_once(connection: Connection, a_session: SessionBuilder) -> None:
    session, first = await a_session(), now()
    await logins.end_session(connection, session.id, first)
    await logins.end_session(connection, session.id, first + SECOND)
    assert await logins.sessions_ended_since(connection, first) == [(session.id, first)]
    assert await logins.sessions_ended_since(connection, first + 1) == []


async def test_sessions_that_ended_or_expired_before_an_instant_are_purged_in_batches(
    connection: Connection, a_session: SessionBuilder
) -> None:
    start = now()
    living, expired, ended, just_ended = [await a_session() for _ in range(4)]
    await exchange(connection, living, "first", "second", at=start + 20 * DAY)
    await logins.end_session(connection, ended.id, start)
    await logins.end_session(connection, just_ended.id, start + 40 * DAY)
    await exchange(connection, expired, "first", "second", at=start - DAY)
    before = expired.expires_at
    assert await logins.purge_sessions(connection, before, 1) == 1
    assert await logins.purge_sessions(connection, before, 500) == 1
    assert await logins.purge_sessions(connection, before, 500) == 0
    left = [session.id for session in (living, expired, ended, just_ended) if await row_of(connection, session)]
    assert left == [living.id, just_ended.id]


async def test_sessions_and_settings_go_with_their_account(
    connection: Connection, a_session: SessionBuilder, count: Callable[[str], Awaitable[int]]
) -> None:
    session = await a_session()
    await connection.execute("DELETE FROM users WHERE id = %s", (session.user_id,))
    assert (await count("refresh_tokens"), await count("user_settings")) == (0, 0)
