"""Clients of the realtime service for both protocols, with one interface."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import grpc
from focusmesh.realtime.v1 import realtime_service_pb2 as pb
from focusmesh.realtime.v1 import realtime_service_pb2_grpc as rpc
from focusmesh.realtime.v1.realtime_event_pb2 import RealtimeEvent
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

WAIT_SECONDS = 15


class Ended(Exception):  # noqa: N818 (what every stream comes to)
    """The stream ended, with a reason of the contract and the code of its protocol."""

    def __init__(self, code: object, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


class Stream:
    """An open stream, whichever client opened it."""

    def __init__(self, read: Callable[[], Awaitable[RealtimeEvent]]) -> None:
        self._read = read
        self.cursor = ""
        """Cursor of the last frame."""

    async def frame(self) -> RealtimeEvent:
        """The next frame; raises Ended."""
        async with asyncio.timeout(WAIT_SECONDS):
            frame = await self._read()
        self.cursor = frame.cursor
        return frame

    async def change(self) -> RealtimeEvent:
        """The next change, past heartbeats."""
        while True:
            frame = await self.frame()
            assert not frame.HasField("resync"), "nothing was to be lost"
            if frame.HasField("change"):
                return frame

    async def events(self, count: int) -> list[str]:
        """Ids of the events of the next changes."""
        return [(await self.change()).change.event_id for _ in range(count)]

    async def end(self) -> Ended:
        """Reads to the end."""
        while True:
            try:
                await self.frame()
            except Ended as ended:
                return ended


class RealtimeClient(NamedTuple):
    """A client of one protocol."""

    name: str
    open: Callable[..., AbstractAsyncContextManager[Stream]]
    """open(target, token, cursor=""): a stream, whose first frame was not read yet."""
    signed_out: object
    """Code when the token or the session ended."""
    bad_cursor: object
    come_back: object
    """Code when the client should reconnect to another replica."""
    cut: object
    """Code when a limit is exceeded."""


class Target(NamedTuple):
    """Where a replica listens."""

    grpc: str
    websocket: str


@asynccontextmanager
async def by_grpc(target: Target, token: str, cursor: str = "") -> AsyncIterator[Stream]:
    async with grpc.aio.insecure_channel(target.grpc) as channel:
        call = rpc.RealtimeServiceStub(channel).Subscribe(
            pb.SubscribeRequest(cursor=cursor), metadata=(("authorization", f"Bearer {token}"),)
        )

        async def read() -> RealtimeEvent:
            try:
                response: Any = await call.read()
            except grpc.aio.AioRpcError:
                response = grpc.aio.EOF
            if response is grpc.aio.EOF:
                raise Ended(await call.code(), _reason(await call.trailing_metadata()))
            return response.event

        yield Stream(read)
        call.cancel()


@asynccontextmanager
async def by_websocket(target: Target, token: str, cursor: str = "") -> AsyncIterator[Stream]:
    address = f"ws://{target.websocket}/v1/realtime" + (f"?cursor={cursor}" if cursor else "")
    headers = {"Authorization": f"Bearer {token}"}
    # A client with unread frames never sees the server's close frame, so it does not wait for it.
    async with connect(address, additional_headers=headers, close_timeout=0.1) as socket:
        yield stream_of(socket)


def stream_of(socket: ClientConnection) -> Stream:
    """The stream that a WebSocket carries."""

    async def read() -> RealtimeEvent:
        try:
            return json_format.Parse(await socket.recv(), RealtimeEvent())
        except ConnectionClosed as closed:
            received = closed.rcvd
            raise Ended(received.code if received else None, received.reason if received else "") from None

    return Stream(read)


GRPC = RealtimeClient(
    "grpc",
    by_grpc,
    signed_out=grpc.StatusCode.UNAUTHENTICATED,
    bad_cursor=grpc.StatusCode.INVALID_ARGUMENT,
    come_back=grpc.StatusCode.UNAVAILABLE,
    cut=grpc.StatusCode.RESOURCE_EXHAUSTED,
)
WEBSOCKET = RealtimeClient("websocket", by_websocket, signed_out=4401, bad_cursor=1008, come_back=1012, cut=1013)


def _reason(trailers: Any) -> str:
    status = status_pb2.Status.FromString(dict(trailers or ()).get("grpc-status-details-bin", b""))
    info = error_details_pb2.ErrorInfo()
    return info.reason if status.details and status.details[0].Unpack(info) else ""
