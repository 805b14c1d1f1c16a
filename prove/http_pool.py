"""HTTP/1.1 on kept connections, bare: the load must leave the cores to what is loaded."""

import asyncio
from typing import Any, NamedTuple, cast

import httptools
import orjson


class Response(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


class Pool:
    """As many connections as calls are in flight; an idle one is used again."""

    def __init__(self, target: str) -> None:
        """target: host:port."""
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._target = target
        self._idle: list[_Connection] = []

    async def request(self, verb: str, path: str, body: dict[str, Any] | None, token: str, seconds: float) -> Response:
        """Sends and waits for the reply; raises OSError, also as TimeoutError, when there is none."""
        content = b"" if body is None else orjson.dumps(body)
        kind = "" if body is None else f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        head = f"{verb} {path} HTTP/1.1\r\nhost: {self._target}\r\nauthorization: Bearer {token}\r\n{kind}\r\n"
        async with asyncio.timeout(seconds):
            connection = await self._connection()
            try:
                response = await connection.exchange(head.encode() + content)
            except BaseException:
                connection.close()
                raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def close(self) -> None:
        """Closes what is idle."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return connection


class _Connection(asyncio.Protocol):
    """One exchange at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._reply: asyncio.Future[Response] | None = None
        self._body = b""
        self._lost = False
        self._transport: asyncio.Transport

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        return not self._lost and bool(self._parser.should_keep_alive())

    async def exchange(self, request: bytes) -> Response:
        """Raises ConnectionError when the other side closes or speaks no HTTP."""
        self._body = b""
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._reply

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._fail(ConnectionResetError(f"connection lost: {exc or 'closed by the other side'}"))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(Response(self._parser.get_status_code(), self._body))

    def _fail(self, error: ConnectionError) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
