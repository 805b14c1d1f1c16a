"""A database of auth for each test, and what is built in it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import now
from mesh.runtime.ids import new_id
from services.auth import events
from services.auth.model import Session, User
from services.auth.rules import addresses, sessions, users
from services.auth.store import accounts, logins
from tests.support.databases import ServiceUrl, opened

UserBuilder = Callable[..., Awaitable[User]]


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    async with opened(service_url("auth"), "auth") as database:
        yield database


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator["Redis"]:
    async with Redis.from_url(valkey, decode_responses=True) as redis:
        yield redis


@pytest.fixture
async def connection(db: Database) -> AsyncIterator[Connection]:
    async with db.connection() as connection:
        yield connection


@pytest.fixture
def a_user(db: Database) -> UserBuilder:
    """Builds an account, with its settings and event, as Register does; its password hash is `a hash`."""

    async def build(
        *, email: str = "", name: str = "Ann", time_zone: str = "Europe/Berlin", day_start_minutes: int = 0
    ) -> User:
        user = users.register(
            new_id(), email or f"{new_id()}@example.com", name, time_zone, day_start_minutes, now=now()
        )
        async with db.transaction() as tx:
            side_effects = SideEffects([events.user_registered(user)], None, "")
            await accounts.insert_account(tx, user, "a hash", addresses.first_mail(new_id(), user), side_effects)
        return user

    return build


@pytest.fixture
def a_session(db: Database, a_user: UserBuilder) -> Callable[[], Awaitable[Session]]:
    """Builds a session of a new account; the hash of its first token is `first`."""

    async def build() -> Session:
        session = sessions.begin(new_id(), (await a_user()).id, now=now())
        async with db.connection() as connection:
            assert await logins.insert_session(connection, session, "first", 1)
        return session

    return build


@pytest.fixture
def close_user(db: Database) -> Callable[[str], Awaitable[None]]:
    """Deactivates an account, as an operator does."""

    async def close(user_id: str) -> None:
        async with db.connection() as connection:
            await connection.execute(
                "UPDATE users SET is_active = false, updated_at = clock_timestamp() WHERE id = %s", (user_id,)
            )

    return close


@pytest.fixture
def count(db: Database) -> Callable[[str], Awaitable[int]]:
    """Counts the rows of a table."""

    async def rows(table: str) -> int:
        async with db.connection() as connection:
            cursor = await connection.execute(f"SELECT count(*) FROM {table}")
            [(number,)] = await cursor.fetchall()
            return int(number)

    return rows


@pytest.fixture
def outbox_rows(db: Database) -> Callable[[], Awaitable[list[Any]]]:
    """Reads topics, key, version and value of the events that were written, in order."""

    async def rows() -> list[Any]:
        async with db.connection() as connection:
            cursor = await connection.execute("SELECT topics, key, version, value FROM outbox ORDER BY seq")
            return await cursor.fetchall()

    return rows
