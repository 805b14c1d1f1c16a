"""The WebSocket `/v1/realtime`: the frames of Subscribe as JSON text.

A client may send `{"cursor": "…"}` before the first change arrives, equivalent to `?cursor=…` in the URL, and nothing
else; nor that or pings too often. The token is in the `authorization` header, or for browsers in the subprotocol
`bearer.TOKEN` beside `focusmesh.v1`; never in the URL, which proxies log.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import ClassVar, cast
from urllib.parse import parse_qs

import orjson
from focusmesh.realtime.v1.realtime_event_pb2 import RealtimeEvent
from google.protobuf.json_format import MessageToDict
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.typing import Subprotocol

from mesh.rpc.identity import NOBODY, Identity, Tokens
from mesh.rpc.policy import Policy
from mesh.rpc.status import status_of, to_service_error
from mesh.runtime import errors, tls
from mesh.runtime.errors import ServiceError
from mesh.runtime.lifecycle import SupervisedTask
from mesh.runtime.slices import in_slices
from services.realtime import wire
from services.realtime.errors import CursorInvalid, OriginRefused, ShuttingDown, TooManyMessages
from services.realtime.handlers.sessions import LARGE_FRAME, StreamSession, StreamSessions
from services.realtime.settings import Settings

log = logging.getLogger(__name__)

PATH = "/v1/realtime"
SUBPROTOCOL = Subprotocol("focusmesh.v1")
_BEARER = "bearer."
_DOMAIN = "realtime.focusmesh"
_LARGEST_MESSAGE = 1024
_READ_BYTES = 1024
"""Of a client's frames, in one piece."""
_LARGE_TEXTS = 16
"""Texts of half a megabyte that are kept."""
_CLOSE_SECONDS = 1.0
"""How long the client may take to acknowledge the close frame."""
_STOP_SECONDS = 2.0
"""How long the server waits for its connections to close."""

_CLOSE_CODES: tuple[tuple[type[ServiceError], int], ...] = (
    (errors.Unauthenticated, 4401),
    (errors.InvalidArgument, 1008),
    (errors.PermissionDenied, 1008),
    (errors.ResourceExhausted, 1013),
    (errors.Unavailable, 1012),
    (ServiceError, 1011),
)
"""RFC 6455 and its registry. 1008: do not retry unchanged; 1012, 1013: reconnect; 1011: server error; 4401: sign in."""

_HTTP_STATUS: tuple[tuple[type[ServiceError], HTTPStatus], ...] = (
    (errors.Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (errors.PermissionDenied, HTTPStatus.FORBIDDEN),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.ResourceExhausted, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (ServiceError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


class Socket(ServerConnection):
    """One connection, its authenticated user and the cursor of its URL."""

    identity: Identity = NOBODY
    cursor: str = ""
    messages: "_MessageLimit"
    """Set before the connection is open."""

    def data_received(self, data: bytes) -> None:
        """Reads a little at a time: one reading may hold 40,000 pings."""
        for first in range(0, len(data), _READ_BYTES):
            super().data_received(data[first : first + _READ_BYTES])

    def process_event(self, event: Event) -> None:
        """Closes when too many frames come; the library discards what follows."""
        if isinstance(event, Frame) and self.protocol.state is State.OPEN and not self.messages.allows():
            self.protocol.fail(_close_code(TooManyMessages()), TooManyMessages.reason)
            self.send_data()
        else:
            super().process_event(event)

    async def close(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Closes, or aborts after a second: the library limits the wait for the close frame, not for buffer space."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await super().close(code, reason)
        except TimeoutError:
            self.transport.abort()


class _MessageLimit:
    """A token bucket."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._left, self._at = float(burst), time.monotonic()

    def allows(self) -> bool:
        """Counts a message; whether it may come."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second) - 1
        self._at = now
        return self._left >= 0


class WebSocketServer(SupervisedTask):
    """Serves the WebSocket on a port of its own."""

    expected: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    longest_backoff: ClassVar[float] = 1.0

    def __init__(self, sessions: StreamSessions, tokens: Tokens, policy: Policy, settings: Settings) -> None:
        """policy: the policy of Subscribe, which applies here too."""
        super().__init__("websocket server")
        self._sessions, self._tokens, self._policy = sessions, tokens, policy
        self._tls = tls.server_context(settings)
        self._host, _, self._port = settings.websocket_listen.rpartition(":")
        allowed = settings.allowed_origins.split(",")
        self._origins = frozenset(origin.strip() for origin in allowed if origin.strip())
        self._message_rate = settings.messages_burst, settings.messages_per_second
        self._server: Server | None = None
        self._texts = _LargeTexts()

    async def close(self, grace: float = 0.0) -> None:
        """Stops accepting connections and closes the open ones."""
        await super().close(grace)
        if self._server is not None:
            self._server.close(code=CloseCode.SERVICE_RESTART, reason=ShuttingDown.reason)
            # Open connections are closed by then; an unfinished handshake ends with the process.
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._server.wait_closed()
            self._server = None

    async def run(self) -> None:
        """Listens; raises OSError while the port is taken."""
        logging.getLogger("websockets").setLevel(logging.WARNING)  # at INFO it logs every connection
        self._server = await self._serve_port()
        log.info("websocket listens on %s:%s", self._host, self._port)
        self.succeeded()

    async def _serve_port(self) -> Server:
        return await serve(
            self._serve,
            self._host,
            int(self._port),
            ssl=self._tls,
            create_connection=Socket,
            process_request=self._admit,
            select_subprotocol=_select_subprotocol,
            compression=None,
            server_header=None,
            max_size=_LARGEST_MESSAGE,
            max_queue=4,
            open_timeout=5,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=20,
            ping_timeout=20,
        )

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Authorizes a handshake, or responds with an error of the REST interface."""
        socket = cast(Socket, connection)
        socket.messages = _MessageLimit(*self._message_rate)
        path, _, query = request.path.partition("?")
        if path != PATH:
            return _http_response(HTTPStatus.NOT_FOUND, {"code": 5, "message": f"There is nothing here but {PATH}."})
        try:
            origins = request.headers.get_all("Origin")
            if len(origins) > 1 or not self._origins.issuperset(origins):
                raise OriginRefused
            socket.identity = await self._tokens.verify(_credentials(request.headers))
            self._policy.permit(socket.identity)
        except Exception as error:  # noqa: BLE001 (nothing else may leave)
            service_error = to_service_error(error)
            status = next(status for kind, status in _HTTP_STATUS if isinstance(service_error, kind))
            return _http_response(status, MessageToDict(status_of(service_error, _DOMAIN)))
        socket.cursor = parse_qs(query).get("cursor", [""])[0]
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        """Streams until either side ends it; closes the connection with the code and reason of the error."""
        socket = cast(Socket, connection)
        try:
            await self._stream(socket)
        except ConnectionClosed:
            return
        except Exception as error:  # noqa: BLE001 (as above)
            service_error = to_service_error(error)
            await socket.close(_close_code(service_error), service_error.reason)

    async def _stream(self, socket: Socket) -> None:
        """Sends frames from the cursor of the URL; starts again when the client sends another cursor."""
        next_cursor: asyncio.Task[str] = asyncio.create_task(_receive_cursor(socket))
        try:
            cursor: str | None = socket.cursor
            while cursor is not None:
                async with self._sessions.open(socket.identity, cursor) as session:
                    cursor = await _Sender(socket, session, self._texts).run(next_cursor)
                next_cursor = asyncio.create_task(_receive_cursor(socket))
        finally:
            next_cursor.cancel()


class _Sender:
    """Sends the frames of one session."""

    def __init__(self, socket: Socket, session: StreamSession, texts: "_LargeTexts") -> None:
        self._socket, self._session, self._texts = socket, session, texts
        self._changes_sent = False

    async def run(self, next_cursor: "asyncio.Task[str]") -> str:
        """Sends until the client sends another cursor, which is returned; raises the error that ends the stream."""
        sending = asyncio.create_task(self._send())
        try:
            await asyncio.wait((sending, next_cursor, self._session.end), return_when=asyncio.FIRST_COMPLETED)
            if self._session.end.done():
                raise self._session.end.result()
            if sending.done():
                sending.result()
            cursor = next_cursor.result()
            if self._changes_sent:
                raise CursorInvalid
            return cursor
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self) -> None:
        async with aclosing(self._session.frames()) as frames:
            async for frame in frames:
                self._changes_sent |= frame.HasField("change")
                await self._socket.send(await self._texts.text(frame))


class _LargeTexts:
    """Texts of large frames: the largest session takes 12 ms, so they take turns with other work.

    All devices of a user get the same text, which is made once for those that are about as far.
    """

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}

    async def text(self, frame: RealtimeEvent) -> str:
        """The text of a frame of any size."""
        if frame.ByteSize() <= LARGE_FRAME:
            return wire.frame_to_json(frame)
        [text] = await in_slices(map(self._make, [frame]))
        return text

    def _make(self, frame: RealtimeEvent) -> str:
        key = frame.change.event_id, frame.cursor
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = wire.frame_to_json(frame)
            if len(self._texts) > _LARGE_TEXTS:
                del self._texts[next(iter(self._texts))]
        return text


async def _receive_cursor(socket: Socket) -> str:
    """The cursor that the client sends; raises CursorInvalid for anything else."""
    message = await socket.recv()
    try:
        received = orjson.loads(message)
    except orjson.JSONDecodeError:
        raise CursorInvalid from None
    if not isinstance(received, dict) or not isinstance(received.get("cursor"), str) or not received["cursor"]:
        raise CursorInvalid
    return str(received["cursor"])


def _close_code(error: ServiceError) -> int:
    return next(code for kind, code in _CLOSE_CODES if isinstance(error, kind))


def _credentials(headers: Headers) -> dict[str, str | bytes]:
    """The token as gRPC metadata."""
    for offered in ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(","):
        if offered.strip().startswith(_BEARER):
            return {"authorization": f"Bearer {offered.strip().removeprefix(_BEARER)}"}
    sent = headers.get_all("Authorization")
    return {"authorization": sent[0]} if sent else {}


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The application protocol; never the token, which a response would repeat."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def _http_response(status: HTTPStatus, body: object) -> Response:
    encoded = orjson.dumps(body)
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(encoded)), "Connection": "close"})
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(status.value, status.phrase, headers, encoded)
