"""An HTTP server that responds as it is told, also as no library would let it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from stack.layout import LOOPBACK


class Received(NamedTuple):
    """One request."""

    target: str
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes


Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes the response to a request; the connection is closed afterwards."""


def answers(status: int, body: bytes = b"", **headers: str) -> Respond:
    """A whole response. headers: with `_` for `-`."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} Text\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body)
        await writer.drain()

    return respond


def repeats(begin: bytes, part: bytes, seconds: float = 0.0) -> Respond:
    """The beginning of a response, then a part again and again for ever, every so many seconds."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(seconds)

    return respond


async def hangs(_writer: asyncio.StreamWriter) -> None:
    """No response, on a connection that stays."""
    await asyncio.Event().wait()


async def hangs_up(_writer: asyncio.StreamWriter) -> None:
    """No response, and the end of the connection."""


class Receiver:
    """Keeps what it receives; `respond` says how it responds."""

    def __init__(self, host: str, port: int, *, encrypted: bool) -> None:
        self.host, self.port = host, port
        self._scheme = "https" if encrypted else "http"
        self.received: list[Received] = []
        self.connections = 0
        self.respond: Respond = answers(204)
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://{self.host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.received.append(Received(head[0].split()[1], headers, body))
            await self.respond(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # `close` ends it; asyncio's streams would report every task that ends as cancelled
        finally:
            self._serving.discard(task)
            writer.close()

    async def close(self) -> None:
        """Ends what is being responded."""
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


@asynccontextmanager
async def receiving(
    host: str = LOOPBACK, port: int = 0, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """A receiver that listens. port: 0 for any that is free. tls: of its side; plain text without."""
    receiver = Receiver(host, port, encrypted=tls is not None)
    server = await asyncio.start_server(receiver._serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
