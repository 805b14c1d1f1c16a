"""Connections are few: a caller that finds none free waits its turn, for a bounded time."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import psycopg
import pytest

from harness.waiting import until
from mesh.database import pool as db_module
from mesh.database.columns import namedtuple_row
from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.runtime.errors import Overloaded
from stack.errors import StackError
from tests.support.databases import opened


class Pair(NamedTuple):
    """A row."""

    number: int
    text: str


@pytest.fixture
async def single(todo_url: str) -> AsyncIterator[Database]:
    """A database with one connection."""
    async with opened(todo_url, "todo", connections=1) as database:
        yield database


async def one_of(database: Database, number: int) -> int:
    async with database.connection() as connection:
        row = await (await connection.execute("SELECT %s::int", (number,))).fetchone()
    assert row is not None
    return int(row[0])


async def test_many_callers_share_one_connection(single: Database) -> None:
    assert await asyncio.gather(*(one_of(single, number) for number in range(50))) == list(range(50))


async def test_a_caller_that_waits_too_long_is_asked_to_retry(
    single: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "_CHECKOUT_SECONDS", 0.05)
    async with single.connection():
        with pytest.raises(Overloaded):
            await one_of(single, 1)
    assert await one_of(single, 2) == 2


async def test_a_caller_that_gives_up_waiting_takes_nobodys_turn(single: Database) -> None:
    async with single.connection():
        waiting = [asyncio.create_task(one_of(single, number)) for number in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
    assert await waiting[2] == 2
    assert await one_of(single, 3) == 3


async def test_a_failed_statement_gives_its_connection_back(single: Database) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with single.connection():
                raise ZeroDivisionError
    assert await one_of(single, 4) == 4


async def test_rows_are_instances_of_what_was_asked_for(single: Database) -> None:
    async with single.connection() as connection:
        cursor = await connection.cursor(row_factory=namedtuple_row(Pair)).execute("SELECT 7, 'seven'")
        assert await cursor.fetchall() == [Pair(7, "seven")]
        [row] = await (await cursor.execute("SELECT 8, 'eight'")).fetchall()
        assert (type(row), row.text) == (Pair, "eight")


async def write(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("DELETE FROM outbox")


async def test_a_server_that_takes_no_writes_any_more_is_left_for_the_one_that_does(single: Database) -> None:
    async with single.connection() as connection:
        await connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await write(single)
    await until(lambda: single.ready, "a fresh connection is there")
    await write(single)


async def test_a_server_that_takes_no_writes_is_not_served_from(
    single: Database, postgres: str, database_name: str
) -> None:
    async with await Connection.connect(postgres, autocommit=True) as administrator:
        await administrator.execute(f"ALTER DATABASE {database_name} SET default_transaction_read_only = on")
        async with single.connection() as connection:
            await connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await write(single)
        with pytest.raises(StackError, match="not within"):
            await until(lambda: single.ready, "it is read only", seconds=1)
        await administrator.execute(f"ALTER DATABASE {database_name} RESET default_transaction_read_only")
        await until(lambda: single.ready, "it takes writes again")
        await write(single)
