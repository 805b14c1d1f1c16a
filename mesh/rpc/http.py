"""A listener of plain HTTP beside the gRPC server, for programs that read files and know no RPCs."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple, Protocol

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mesh.rpc.status import to_service_error
from mesh.runtime import errors, tls
from mesh.runtime.lifecycle import SupervisedTask
from mesh.runtime.settings import ServiceSettings

log = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"
"""200 while the service serves, otherwise 503: the gateway sends nothing to a listener that leaves."""
REQUEST_SECONDS = 10.0
"""From the connection to the end of its first request."""
SEND_SECONDS = 20.0
"""Until the reader has taken enough of a response for its next part."""
IDLE_SECONDS = 60
"""Of a connection between two requests; longer than the gateway keeps one."""
_MOST_CONNECTIONS = 500
"""A request of any further one gets 503."""
_LARGEST_HEAD = 32 * 1024
"""Bytes of a request's line and headers; the gateway lets 16 KiB through."""
_GRACE_SECONDS = 5

Send = Callable[[Any], Awaitable[None]]


class Request(NamedTuple):
    """A request; its body, if there is one, is not read."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By their names in lower case."""


class Parts(Protocol):
    """A body, part by part."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The parts."""

    async def aclose(self) -> None:
        """Ends it: called when its last part was sent, and when it will not be, also when none was asked for."""


class Response(NamedTuple):
    """What is sent back; the body of the response to a HEAD is not."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes | Parts = b""
    """In parts, if it is large: each is sent when the reader has taken the one before."""


Handler = Callable[[Request], Awaitable[Response]]


class HttpListener(SupervisedTask):
    """Listens on a port of its own while the service runs.

    A path may be a secret: nothing here logs one.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    longest_backoff: ClassVar[float] = 1.0

    def __init__(self, listen: str, handle: Handler, settings: ServiceSettings) -> None:
        """listen: host:port. handle: may raise; a ServiceError that is Unavailable becomes 503, any other error 500."""
        super().__init__("http listener")
        self._host, _, self._port = listen.rpartition(":")
        self._handle, self._tls = handle, tls.server_context(settings)
        self._serving = False
        self._server: uvicorn.Server | None = None
        self._sockets: list[socket.socket] = []

    def on_serving(self, serving: bool) -> None:
        """What the health check says from now on."""
        self._serving = serving

    async def run(self) -> None:
        """Listens; raises OSError while the port is taken."""
        logging.getLogger("uvicorn.error").setLevel(
            logging.CRITICAL
        )  # `_respond` reports what fails; the rest is callers
        config = uvicorn.Config(
            self._respond,
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            h11_max_incomplete_event_size=_LARGEST_HEAD,
        )
        config.load()
        config.ssl = self._tls
        self._sockets = [socket.create_server((self._host, int(self._port)), reuse_port=False)]
        # Not `serve`, which takes the process's signals and wakes up ten times a second for a header that is off.
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(self._sockets)
        self._server = server
        log.info("http listens on %s:%s", self._host, self._port)
        self.succeeded()

    async def close(self, grace: float = 0.0) -> None:
        """Takes no more connections; what is being sent has a few seconds to end."""
        await super().close(grace)
        server, self._server = self._server, None
        if server is not None:
            await server.shutdown(self._sockets)

    async def _respond(self, scope: Any, _receive: object, send: Send) -> None:
        """The application, as ASGI has it."""
        response = await self._response(scope)
        try:
            async with aclosing(_body(response.body)) as body:
                await _in_time(send, _start(response))
                if scope["method"] != "HEAD":
                    async for part in body:
                        await _in_time(send, {"type": "http.response.body", "body": part, "more_body": True})
                await _in_time(send, {"type": "http.response.body"})
        except Exception as error:  # noqa: BLE001 (the reader has the status, and is to see that the rest is missing)
            if not isinstance(error, _TooSlowError):
                to_service_error(error)
            scope["state"]["abort"]()

    async def _response(self, scope: Any) -> Response:
        request = Request(
            scope["method"],
            scope["path"],
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )
        if request.path == HEALTH_PATH:
            return Response(200 if self._serving else 503)
        try:
            return await self._handle(request)
        except Exception as error:  # noqa: BLE001 (nothing else may leave)
            if isinstance(to_service_error(error), errors.Unavailable | errors.DeadlineExceeded):
                return Response(503, {"retry-after": "60"})
            return Response(500)


class _TooSlowError(Exception):
    """The reader has taken nothing for too long."""


async def _in_time(send: Send, message: object) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await send(message)
    except TimeoutError:
        raise _TooSlowError from None


def _start(response: Response) -> object:
    headers = dict(response.headers)
    if isinstance(response.body, bytes) and response.status != HTTPStatus.NOT_MODIFIED:
        headers["content-length"] = str(len(response.body))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": int(response.status), "headers": encoded}


def _body(body: bytes | Parts) -> Parts:
    return _whole(body) if isinstance(body, bytes) else body


async def _whole(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


class _Connection(H11Protocol):
    """One connection: the library has no limit for its first request, nor a way to cut one off."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the library does
        super().connection_made(transport)
        self.app_state = {"abort": transport.abort}
        self.loop.call_later(REQUEST_SECONDS, self._require_request)

    def _require_request(self) -> None:
        if self.cycle is None:
            self.transport.abort()
