"""When a WebSocket of the proof counts as closed, against a server that keeps TCP open."""

import asyncio
import random
import time
from typing import cast

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.server import ServerProtocol

from harness.accounts import User
from prove.subscribers import WebSocketSubscriber

SIGN_IN_AGAIN = 4401


async def close_and_keep_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a gateway does: the close frame at once, and TCP for as long as the client does not end it."""
    protocol = ServerProtocol()
    protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
    [request] = protocol.events_received()
    protocol.send_response(protocol.accept(cast(Request, request)))
    protocol.send_close(SIGN_IN_AGAIN)
    writer.write(b"".join(protocol.data_to_send()))
    await reader.read()
    writer.close()


async def test_a_websocket_is_closed_when_its_close_frame_arrives_not_when_tcp_ends() -> None:
    server = await asyncio.start_server(close_and_keep_tcp, "127.0.0.1", 0)
    address, port = server.sockets[0].getsockname()
    user = User("someone", "someone@example.org", token="held")
    subscriber = WebSocketSubscriber("a held WebSocket", user, f"{address}:{port}", random.Random(1))  # noqa: S311 (not a secret)
    began = time.monotonic()
    async with server:
        with pytest.raises(ConnectionClosed) as ended:
            async for _ in subscriber.frames(""):
                pass
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == SIGN_IN_AGAIN
    assert subscriber.closed is not None
    assert began < subscriber.closed < time.monotonic() - 0.5
