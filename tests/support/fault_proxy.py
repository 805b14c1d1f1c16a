"""A TCP proxy in front of a dependency, with which a test causes outages for one service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.support.ports import LOOPBACK, free_ports


class FaultProxy:
    """Forwards connections to a dependency; while it is down, connecting is refused."""

    def __init__(self, url: str) -> None:
        """url: of the dependency."""
        split = urlsplit(url)
        self._upstream = (split.hostname or LOOPBACK, split.port)
        self.port = free_ports(1)[0]
        credentials, at, _ = split.netloc.rpartition("@")
        self.target = f"{LOOPBACK}:{self.port}"
        self.url = urlunsplit(split._replace(netloc=f"{credentials}{at}{self.target}"))
        """URL of the dependency through the proxy."""
        self.resets = 0
        """Connections that were reset as soon as they were accepted."""
        self._resetting = False
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()

    async def up(self) -> None:
        """Accepts connections and forwards what they carry; ends the other modes."""
        self._flowing.set()
        self._resetting = False
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, LOOPBACK, self.port)

    async def down(self) -> None:
        """Closes every connection, and refuses new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def reset(self) -> None:
        """Closes every connection, and each new one as soon as it is accepted."""
        await self.down()
        await self.up()
        self._resetting = True

    def freeze(self) -> None:
        """Keeps and accepts connections, and holds back everything sent on them."""
        self._flowing.clear()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._resetting:
            self.resets += 1
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, upstream_writer))
                both.create_task(self._copy(upstream_reader, writer))
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            with contextlib.suppress(UnboundLocalError):
                upstream_writer.transport.abort()
            writer.transport.abort()
        finally:
            self._connections.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(65536):
            await self._flowing.wait()
            writer.write(content)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def fault_proxy(url: str, *, up: bool = True) -> AsyncIterator[FaultProxy]:
    """A proxy to a dependency for the time of the block. up: false to begin with the dependency away."""
    proxy = FaultProxy(url)
    if up:
        await proxy.up()
    try:
        yield proxy
    finally:
        await proxy.down()
