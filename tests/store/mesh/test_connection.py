"""A statement ends, with a result or an error, whatever happens to its caller and to the server."""

import asyncio
import select
import socket
import struct
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from harness.waiting import until
from mesh.database.connection import Connection, abort


@pytest.fixture
async def connection(todo_url: str) -> AsyncIterator[Connection]:
    made = await Connection.connect(todo_url, autocommit=True)
    yield made
    await made.close()


async def result_of(connection: Connection, statement: str, *values: object) -> object:
    row = await (await connection.execute(statement, values)).fetchone()
    assert row is not None
    return row[0]


async def end_by_server(url: str, connection: Connection) -> None:
    async with await Connection.connect(url, autocommit=True) as other:
        assert await result_of(other, "SELECT pg_terminate_backend(%s)", connection.info.backend_pid)


async def test_statements_follow_each_other(connection: Connection) -> None:
    assert [await result_of(connection, "SELECT %s::int", number) for number in range(100)] == list(range(100))


async def test_a_statement_and_a_result_may_be_larger_than_any_buffer(connection: Connection) -> None:
    text = "focus" * 4_000_000
    assert await result_of(connection, "SELECT %s::text", text) == text


async def test_a_cancelled_statement_ends_in_the_server_and_the_connection_serves_on(connection: Connection) -> None:
    task = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
    await until(lambda: connection.info.transaction_status == TransactionStatus.ACTIVE, "the statement runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await result_of(connection, "SELECT 1") == 1


async def test_a_deadline_ends_a_statement_as_a_timeout(connection: Connection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connection.execute("SELECT pg_sleep(60)")
    assert await result_of(connection, "SELECT 2") == 2


async def test_cancelled_twice_the_connection_is_closed_rather_than_left_in_doubt(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*, timeout: float) -> None:
        asked.set()
        await asyncio.sleep(timeout)

    monkeypatch.setattr(connection, "cancel_safe", never)
    task = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
    await until(lambda: connection.info.transaction_status == TransactionStatus.ACTIVE, "the statement runs")
    task.cancel()
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.closed


async def test_a_failed_statement_leaves_the_connection_usable(connection: Connection) -> None:
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.execute("SELECT 1 / 0")
    assert await result_of(connection, "SELECT 3") == 3


async def test_a_server_that_goes_away_in_the_midst_of_a_statement_is_an_operational_error(
    todo_url: str, connection: Connection
) -> None:
    running = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
    await until(lambda: connection.info.transaction_status == TransactionStatus.ACTIVE, "the statement runs")
    await end_by_server(todo_url, connection)
    with pytest.raises(psycopg.OperationalError):
        await running
    assert connection.broken


async def test_a_server_that_goes_away_while_nothing_runs_fails_the_next_statement(
    todo_url: str, connection: Connection
) -> None:
    assert await result_of(connection, "SELECT 1") == 1
    await end_by_server(todo_url, connection)
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    assert connection.broken


async def test_an_aborted_statement_does_not_wait_for_ever(connection: Connection) -> None:
    running = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
    await until(lambda: connection.info.transaction_status == TransactionStatus.ACTIVE, "the statement runs")
    abort(connection)
    abort(connection)
    with pytest.raises(psycopg.OperationalError):
        await asyncio.wait_for(running, 5)
    assert connection.broken
    abort(connection)


async def test_a_connection_that_is_idle_is_not_aborted(connection: Connection) -> None:
    abort(connection)
    assert await result_of(connection, "SELECT 4") == 4


async def test_a_connection_that_breaks_right_after_a_result_fails_the_next_statement(todo_url: str) -> None:
    """As a load balancer may break it: with a reset, which libuv reports only once."""
    at = urlsplit(todo_url)
    with socket.create_server(("127.0.0.1", 0)) as entry, ThreadPoolExecutor() as threads:
        proxy = ResettingProxy()
        threads.submit(proxy.carry, entry, (str(at.hostname), int(at.port or 0)))
        through = todo_url.replace(f":{at.port}/", f":{entry.getsockname()[1]}/")
        connection = await Connection.connect(through, autocommit=True)
        assert await result_of(connection, "SELECT 1") == 1
        proxy.break_after_next = True
        asyncio.get_running_loop().call_later(0.001, time.sleep, 1.0)  # both arrive while the loop is busy
        await connection.execute("SELECT pg_sleep(0.05)")
        async with asyncio.timeout(5):
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT 2")
        await connection.close()


class ResettingProxy:
    """Forwards one connection to Postgres; resets it after the next response when `break_after_next` is set."""

    def __init__(self) -> None:
        self.break_after_next = False

    def carry(self, entry: socket.socket, server: tuple[str, int]) -> None:
        caller, _ = entry.accept()
        with caller, socket.create_connection(server) as postgres:
            while ready := select.select([caller, postgres], [], [])[0]:
                for one in ready:
                    content = one.recv(65536)
                    if not content:
                        return
                    (postgres if one is caller else caller).sendall(content)
                    if one is postgres and self.break_after_next:
                        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return


async def test_a_new_connection_may_have_the_number_of_a_closed_or_broken_one(todo_url: str) -> None:
    numbers = set()
    for turn in range(30):
        fresh = await Connection.connect(todo_url, autocommit=True)
        numbers.add(fresh.fileno())
        async with asyncio.timeout(5):
            assert await result_of(fresh, "SELECT %s::int", turn) == turn
            if turn % 3 == 1:
                with pytest.raises(psycopg.OperationalError):
                    await fresh.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await fresh.close()
    assert len(numbers) < 30, "no number came twice: this test shows nothing"


async def test_what_is_not_a_plain_statement_works_as_ever(connection: Connection) -> None:
    await connection.execute("LISTEN news")
    await connection.execute("NOTIFY news, 'now'")
    assert [note.payload async for note in connection.notifies(timeout=5, stop_after=1)] == ["now"]
    async with connection.cursor().copy("COPY (SELECT generate_series(1, 3)) TO STDOUT") as copy:
        assert [row async for row in copy.rows()] == [("1",), ("2",), ("3",)]
    async with connection.pipeline():
        cursors = [await connection.execute("SELECT %s::int", (number,)) for number in range(3)]
    assert [await cursor.fetchone() for cursor in cursors] == [(0,), (1,), (2,)]
