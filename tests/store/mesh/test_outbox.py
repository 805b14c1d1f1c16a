"""Events are in the outbox in the order of their versions, whichever transaction waited for which."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from harness.waiting import until
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.runtime import clock
from mesh.runtime.ids import new_id

_BOTH = "UPDATE aggregate_versions SET version = version + 1 WHERE source = %(source)s RETURNING subject"


@pytest.fixture
async def session(todo_url: str) -> AsyncIterator[Connection]:
    async with await Connection.connect(todo_url, autocommit=True) as made:
        yield made


@pytest.fixture
async def other(todo_url: str) -> AsyncIterator[Connection]:
    async with await Connection.connect(todo_url, autocommit=True) as made:
        yield made


def event(subject: str, version: int) -> Event:
    user = "01890000-0000-7000-8000-000000000000"
    return Event(new_id(), "item-changed", "test", ("t",), user, subject, "item_id", version, clock.now(), {})


async def test_a_change_of_several_rows_numbers_its_events_after_the_last_row_is_locked(
    session: Connection, other: Connection
) -> None:
    for subject in ("a", "b"):
        await session.execute(
            "INSERT INTO aggregate_versions (source, subject, version) VALUES ('test', %s, 1)", (subject,)
        )
    async with other.transaction():
        await other.execute("UPDATE aggregate_versions SET version = 2 WHERE source = 'test' AND subject = 'b'")
        effect = SideEffects([event("a", 2), event("b", 3)], None, "")
        change = asyncio.create_task(outbox.write(session, _BOTH, {"source": "test"}, effect))

        async def waits() -> bool:
            blocked = await other.execute("SELECT pg_blocking_pids(%s) <> '{}'", (session.info.backend_pid,))
            return await blocked.fetchone() == (True,)

        await until(waits, "the change waits for the second row")
        await outbox.write(other, "SELECT 1", {}, SideEffects([event("b", 2)], None, ""))
    await change
    rows = await other.execute(
        "SELECT version FROM outbox WHERE convert_from(value, 'UTF8')::json ->> 'subject' = 'b' ORDER BY seq"
    )
    assert await rows.fetchall() == [(2,), (3,)]
