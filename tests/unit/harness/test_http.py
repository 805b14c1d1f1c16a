"""The load's HTTP client, given its bytes by the test."""

import asyncio
from typing import cast
from unittest.mock import Mock

import pytest

from harness.http import Connection, Response

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture
def connection() -> Connection:
    """A connection whose other end is the test."""
    connection = Connection()
    connection.connection_made(cast(asyncio.Transport, Mock(spec=asyncio.Transport)))
    return connection


async def exchange(connection: Connection) -> "asyncio.Task[Response]":
    """An exchange whose request is sent."""
    task = asyncio.create_task(connection.exchange(REQUEST))
    await asyncio.sleep(0)
    return task


async def test_a_response_that_comes_in_pieces_is_whole(connection: Connection) -> None:
    for body in (b"one", b"another"):
        task = await exchange(connection)
        for piece in (b"HTTP/1.1 404 Not Found\r\ncontent-", b"length: %d\r\n\r\n" % len(body), body[:1], body[1:]):
            connection.data_received(piece)
        assert await task == Response(404, body)
        assert connection.reusable


async def test_a_connection_that_the_server_closes_is_not_used_again(connection: Connection) -> None:
    task = await exchange(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    assert await task == Response(200, b"")
    assert not connection.reusable


async def test_a_lost_connection_fails_its_exchange_and_the_next_one(connection: Connection) -> None:
    task = await exchange(connection)
    connection.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await task
    with pytest.raises(ConnectionResetError):
        await connection.exchange(REQUEST)


async def test_what_is_not_http_fails_the_exchange(connection: Connection) -> None:
    task = await exchange(connection)
    connection.data_received(b"\x00\x01\x02\r\n\r\n")
    with pytest.raises(ConnectionError, match="not HTTP"):
        await task
