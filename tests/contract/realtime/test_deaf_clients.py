"""WebSocket clients that read nothing: what they leave unread delays nobody."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.waiting import until
from mesh.runtime.ids import new_id
from services.realtime.consumers import ChangePublisher
from services.realtime.main import build
from tests.support.realtime_clients import Target
from tests.support.realtime_replicas import Replica, an_event, settings_for
from tests.support.serving import SignerKeys, serving
from tests.support.tokens import Signer

_PONG = b"\x8a\x80\x00\x00\x00\x00"
"""Unsolicited, and never responded to."""


@asynccontextmanager
async def deaf(target: Target, token: str) -> AsyncIterator[socket.socket]:
    """A client that was let in and reads nothing after that."""
    host, _, port = target.websocket.rpartition(":")
    handshake = (
        f"GET /v1/realtime HTTP/1.1\r\nHost: {target.websocket}\r\nAuthorization: Bearer {token}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, handshake.encode())
        assert (await loop.sock_recv(client, 12)).endswith(b"101")
        yield client


def is_gone(client: socket.socket) -> bool:
    """Whether the other side has given the connection up."""
    try:
        client.send(_PONG)
    except ConnectionError:
        return True
    return False


async def flood(broadcast: ChangePublisher, user: str) -> None:
    """More than any buffer holds."""
    for _ in range(20):
        await broadcast.apply([an_event(user, text="x" * 50_000) for _ in range(10)])


async def test_the_connection_is_gone_once_the_client_is_cut(
    replica: Replica, user: str, token: str, broadcast: ChangePublisher
) -> None:
    target = await replica(queue_frames=4, patience_seconds=0.1)
    async with deaf(target, token) as client:
        await flood(broadcast, user)
        await until(lambda: is_gone(client), "the connection is gone", seconds=8)


async def test_it_does_not_keep_a_replica_from_stopping(
    valkey: str, signer: Signer, broadcast: ChangePublisher
) -> None:
    settings, user = settings_for(valkey, stop_grace_seconds=30.0), new_id()
    app = serving(build(settings, SignerKeys(signer)))
    await app.__aenter__()
    target = Target(settings.listen, settings.websocket_listen)
    async with deaf(target, signer.token(sub=user)) as client:
        await flood(broadcast, user)
        async with asyncio.timeout(10):
            await app.__aexit__(None, None, None)
        await until(lambda: is_gone(client), "the connection is gone")


async def test_neither_does_one_that_says_nothing_at_all(valkey: str, signer: Signer) -> None:
    settings = settings_for(valkey)
    app = serving(build(settings, SignerKeys(signer)))
    await app.__aenter__()
    host, _, port = settings.websocket_listen.rpartition(":")
    with socket.create_connection((host, int(port))):
        async with asyncio.timeout(4):
            await app.__aexit__(None, None, None)
