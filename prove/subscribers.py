"""Subscribers: clients of the realtime service that resume from their cursor after every disconnect."""

import asyncio
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import grpc
from focusmesh.realtime.v1 import realtime_service_pb2 as pb
from focusmesh.realtime.v1 import realtime_service_pb2_grpc as rpc
from google.protobuf.json_format import MessageToDict
from websockets import frames
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.protocol import Event
from websockets.typing import Subprotocol

from harness.accounts import User
from prove.checker import Delivered

_RETRY_SECONDS = 0.2
_OPEN_SECONDS = 5.0
_CONNECTED_SECONDS = (2.0, 6.0)
"""After a time between these a subscriber disconnects; it resumes from its cursor."""
Frame = dict[str, Any]


class Subscriber(ABC):
    """One client; keeps the changes that it received."""

    def __init__(self, name: str, user: User, target: str, rng: random.Random) -> None:
        """target: host:port of the gateway."""
        self.name, self.user, self.target = name, user, target
        self.received: list[Delivered] = []
        self.opened = asyncio.Event()
        self.connections = 0
        """How often it connected."""
        self.resyncs = 0
        """How often the service reported a loss."""
        self.errors: list[str] = []
        self.closed: float | None = None
        """When a close frame arrived; None for a protocol without one."""
        self._cursor = ""
        self._rng = rng

    async def run(self) -> None:
        """Receives until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._rng.uniform(*_CONNECTED_SECONDS)):
                    await self._connect()
            except (OSError, WebSocketException, grpc.aio.AioRpcError) as error:  # OSError: also its own time-out
                if not isinstance(error, TimeoutError):
                    self.errors.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _connect(self) -> None:
        async with aclosing(self.frames(self._cursor)) as frames:
            self.connections += 1
            async for frame in frames:
                self._receive(frame)

    def _receive(self, frame: Frame) -> None:
        if change := frame.get("change"):
            self.received.append(
                Delivered(self.name, self.user.id, change["eventId"], change["subjectId"], int(change["version"]))
            )
        if "resync" in frame:
            self.resyncs += 1
        self._cursor = frame["cursor"]
        self.opened.set()

    @abstractmethod
    def frames(self, cursor: str) -> AsyncGenerator[Frame, None]:
        """Frames in JSON form after a cursor, or from now on."""


class _Socket(ClientConnection):
    """Notes when the close frame arrives; the library raises ConnectionClosed when the TCP connection has ended."""

    closed: float | None = None

    def process_event(self, event: Event) -> None:
        """Handles what has arrived."""
        if isinstance(event, frames.Frame) and event.opcode is frames.Opcode.CLOSE:
            self.closed = time.monotonic()
        super().process_event(event)


class WebSocketSubscriber(Subscriber):
    """Connects as a browser does: the token among the subprotocols."""

    async def frames(self, cursor: str) -> AsyncGenerator[Frame, None]:
        """Frames of the socket."""
        protocols = [Subprotocol("focusmesh.v1"), Subprotocol(f"bearer.{self.user.token}")]
        address = f"ws://{self.target}/v1/realtime?cursor={cursor}"
        async with connect(
            address, subprotocols=protocols, open_timeout=_OPEN_SECONDS, close_timeout=1, create_connection=_Socket
        ) as socket:
            try:
                async for text in socket:
                    yield json.loads(text)
            finally:
                self.closed = cast(_Socket, socket).closed


class GrpcSubscriber(Subscriber):
    """Subscribes by gRPC."""

    async def frames(self, cursor: str) -> AsyncGenerator[Frame, None]:
        """Frames as the RPC streams them."""
        async with grpc.aio.insecure_channel(self.target) as channel:
            stream = rpc.RealtimeServiceStub(channel).Subscribe(
                pb.SubscribeRequest(cursor=cursor), metadata=(("authorization", f"Bearer {self.user.token}"),)
            )
            async for response in stream:
                yield MessageToDict(response.event)
