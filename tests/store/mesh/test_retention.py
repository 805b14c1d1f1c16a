"""What is stored for a limited time is removed, however much of it there is."""

from collections.abc import AsyncIterator

import pytest

from mesh.database.pool import Database
from mesh.retention import INBOX_DAYS, RetentionCleaner
from mesh.runtime.ids import new_id
from tests.support.databases import opened


@pytest.fixture
async def db(todo_url: str) -> AsyncIterator[Database]:
    """A schema as its service sees it."""
    async with opened(todo_url, "todo") as database:
        yield database


async def fill(db: Database, count: int, *, responses_hours_ago: int, events_days_ago: int) -> None:
    """As many stored responses, and received events, of that age."""
    async with db.connection() as connection:
        await connection.execute(
            "INSERT INTO idempotency (user_id, method, request_id, fingerprint, response, created_at)"
            " SELECT %s::uuid, 'm', gen_random_uuid(), '', '', now() - make_interval(hours => %s)"
            " FROM generate_series(1, %s)",
            (new_id(), responses_hours_ago, count),
        )
        await connection.execute(
            "INSERT INTO inbox (source, event_id, received_at)"
            " SELECT 'todo', gen_random_uuid(), now() - make_interval(days => %s) FROM generate_series(1, %s)",
            (events_days_ago, count),
        )


async def stored(db: Database) -> tuple[int, int]:
    """How many responses and events are stored."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT (SELECT count(*) FROM idempotency), (SELECT count(*) FROM inbox)")
        row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_backlog_is_removed_batch_by_batch_and_the_rest_is_kept(db: Database) -> None:
    await fill(db, 12_000, responses_hours_ago=25, events_days_ago=INBOX_DAYS + 1)
    await fill(db, 7, responses_hours_ago=23, events_days_ago=INBOX_DAYS - 1)
    retention = RetentionCleaner(db)
    passes = [await retention.run_once()]
    while passes[-1]:
        passes.append(await retention.run_once())
    assert passes == [10_000, 10_000, 4_000, 0]
    assert await stored(db) == (7, 7)
