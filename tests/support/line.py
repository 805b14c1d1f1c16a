"""A line to a part that a test can cut, mend and stop from answering: what an outage is, seen from one service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.support.ports import LOOPBACK, free_ports


class Line:
    """Forwards connections to a part while it is whole."""

    def __init__(self, url: str) -> None:
        """url: of the part."""
        parts = urlsplit(url)
        self._target = (parts.hostname or LOOPBACK, parts.port)
        self._port = free_ports(1)[0]
        credentials, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=f"{credentials}{at}{LOOPBACK}:{self._port}"))
        """Of the part, through the line."""
        self.target = f"{LOOPBACK}:{self._port}"
        self.turned_away = 0
        """Connections that found the line cut."""
        self._whole = True
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def mend(self) -> None:
        """Connections are taken and carried again."""
        self._flowing.set()
        self._whole = True
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, LOOPBACK, self._port)

    async def cut(self) -> None:
        """Ends every connection, and refuses new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for pair in tuple(self._pairs):
            pair.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    async def turn_away(self) -> None:
        """Ends every connection, and each new one at once."""
        await self.cut()
        await self.mend()
        self._whole = False

    def hang(self) -> None:
        """Keeps every connection, and carries nothing."""
        self._flowing.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            self.turned_away += 1
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer))
                both.create_task(self._pump(far_reader, writer))
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            with contextlib.suppress(UnboundLocalError):
                far_writer.transport.abort()
            writer.transport.abort()
        finally:
            self._pairs.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(65536):
            await self._flowing.wait()
            writer.write(content)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def line(url: str, *, whole: bool = True) -> AsyncIterator[Line]:
    """A line for the time of the block; not whole, it begins cut."""
    made = Line(url)
    if whole:
        await made.mend()
    try:
        yield made
    finally:
        await made.cut()
