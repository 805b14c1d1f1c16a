"""The deletion of an account: refused at once, published once, nothing of the user left in a session."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from mesh.database.pool import Database
from mesh.rpc.revocations import KEY
from mesh.runtime import clock
from services.auth.jobs import DeletionPublisher
from services.auth.model import Session

OutboxRows = Callable[[], Awaitable[list[Any]]]


@pytest.fixture
async def deleted(db: Database, a_session: Callable[[], Awaitable[Session]]) -> Session:
    """A session of an account that an operator deleted."""
    session = await a_session()
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET deleted_at = now() WHERE id = %s", (session.user_id,))
    return session


async def deletions(outbox_rows: OutboxRows) -> list[dict[str, Any]]:
    events = [json.loads(value) for _, _, _, value in await outbox_rows()]
    return [event for event in events if event["type"] == "user-deleted"]


async def test_its_tokens_are_refused_first_and_the_event_follows_when_calls_have_ended(
    db: Database, redis: "Redis", deleted: Session, outbox_rows: OutboxRows
) -> None:
    instant = clock.now()
    publisher = DeletionPublisher(db, redis, lambda: instant)

    assert await publisher.run_once() == 0
    [member] = await redis.zrange(KEY, 0, -1)
    assert member == f"user:{deleted.user_id}:{instant // clock.SECOND + 1}"
    instant += DeletionPublisher.settle - 1
    assert await publisher.run_once() == 0
    assert await deletions(outbox_rows) == []

    instant += 1
    assert await publisher.run_once() == 1
    [event] = await deletions(outbox_rows)
    assert (event["data"]["user_id"], event["sequence"]) == (deleted.user_id, f"{2:020d}")
    assert event["data"]["payload"]["name"] is None
    assert await publisher.run_once() == 0


async def test_replicas_publish_it_once(
    db: Database, redis: "Redis", deleted: Session, outbox_rows: OutboxRows
) -> None:
    instant = clock.now()
    replicas = [DeletionPublisher(db, redis, lambda: instant) for _ in range(4)]
    for replica in replicas:
        await replica.run_once()
    instant += DeletionPublisher.settle
    await asyncio.gather(*(replica.run_once() for replica in replicas))
    assert len(await deletions(outbox_rows)) == 1


async def test_its_sessions_are_ended_for_good(db: Database, redis: "Redis", deleted: Session) -> None:
    instant = clock.now()
    publisher = DeletionPublisher(db, redis, lambda: instant)
    await publisher.run_once()
    instant += DeletionPublisher.settle
    await publisher.run_once()
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT revoked_at IS NOT NULL FROM refresh_tokens")
        assert await cursor.fetchall() == [(True,)]


async def test_accounts_that_are_only_deactivated_are_not_erased(
    db: Database,
    redis: "Redis",
    a_session: Callable[[], Awaitable[Session]],
    close_user: Callable[[str], Awaitable[None]],
    outbox_rows: OutboxRows,
) -> None:
    await close_user((await a_session()).user_id)
    instant = clock.now()
    publisher = DeletionPublisher(db, redis, lambda: instant)
    await publisher.run_once()
    instant += DeletionPublisher.settle
    assert await publisher.run_once() == 0
    assert await deletions(outbox_rows) == []
