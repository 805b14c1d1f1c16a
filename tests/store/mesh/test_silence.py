"""A server that stops responding, and does not close its connections, is given up."""

import asyncio
import os
import socket

import psycopg
import pytest

from harness.waiting import until
from mesh.database.migrate import head
from mesh.database.pool import Database
from tests.support.fault_proxy import fault_proxy


async def pid(database: Database) -> int:
    async with database.connection() as connection:
        row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_connection_whose_other_end_vanished_breaks_within_some_ten_seconds(todo_url: str) -> None:
    database = Database(todo_url, revision=head("todo"), connections=1)
    database.start()
    await until(lambda: database.ready, "the database is ready")
    async with database.connection() as connection:
        with socket.socket(fileno=os.dup(connection.fileno())) as carrier:
            options = [
                carrier.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            ]
    await database.close()
    assert options == [5, 2, 3, 10_000]


async def test_a_statement_that_never_returns_ends_with_its_pool(todo_url: str) -> None:
    async with fault_proxy(todo_url) as postgres:
        database = Database(postgres.url, revision=head("todo"), connections=2)
        database.start()
        await until(lambda: database.ready, "the database is ready")
        postgres.freeze()
        async with asyncio.timeout(20):
            with pytest.raises(psycopg.OperationalError):
                await pid(database)
        await postgres.up()
        await until(lambda: database.ready, "the database is ready again")
        assert await pid(database)
        await database.close()
