"""Services behind the gateway under test: every RPC of the contract on a real gRPC server, behaving as a test says.

It stands for no service: what services do is tested with them. It is there to be slow, to refuse, to be large, to die.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
from focusmesh.auth.v1 import key_service_pb2
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from websockets.asyncio.server import Server, ServerConnection, serve

from contract.methods import Method
from envoy.routes import KEY_METHOD
from harness.rpcs import METHODS, request_class, response_class
from mesh.rpc.server import LARGEST_METADATA

Behaviour = Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message]]
SUBPROTOCOL = "focusmesh.v1"
_START_SECONDS = 10
_LEAVING_SECONDS = 3
_GRACE_SECONDS = 5


class Received(NamedTuple):
    """A call that reached a service."""

    method: str
    request: Message
    metadata: dict[str, str]
    seconds_left: float | None


class Upstream:
    """All services in one process, on a thread of their own."""

    def __init__(
        self,
        port: int,
        websocket_port: int,
        keys: key_service_pb2.GetJwksResponse,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """keys: the key set that the gateway verifies tokens with. credentials: None for plain text."""
        self.port, self.websocket_port, self.keys = port, websocket_port, keys
        self._credentials = credentials
        self.received: list[Received] = []
        self.handshakes: list[dict[str, str]] = []
        self._behaviours: dict[str, Behaviour] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: grpc.aio.Server | None = None
        self._websocket: Server | None = None
        self._health = health.aio.HealthServicer()
        self._thread.start()

    def start(self) -> None:
        """Serves; again after `stop`."""
        self._run(self._start())

    def stop(self, grace: float | None = None) -> None:
        """Stops serving; without grace calls in flight are cut."""
        self._run(self._stop(grace))

    def leave(self) -> None:
        """Stops as services do: says that it will not serve, serves on until that is noticed, then stops with grace."""
        self.serving(False)
        threading.Event().wait(_LEAVING_SECONDS)
        self.stop(_GRACE_SECONDS)

    def close(self) -> None:
        """Ends the thread."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    def serving(self, serves: bool) -> None:
        """Sets the health status."""
        state = health_pb2.HealthCheckResponse.SERVING if serves else health_pb2.HealthCheckResponse.NOT_SERVING
        self._run(self._health.set("", state))

    @contextmanager
    def behaving(self, method: Method, behaviour: Behaviour) -> Iterator[None]:
        """While it lasts, calls of the method go to `behaviour`."""
        self._behaviours[method.grpc_path] = behaviour
        try:
            yield
        finally:
            del self._behaviours[method.grpc_path]

    def last(self, method: Method) -> Received:
        """The newest call of the method."""
        return next(call for call in reversed(self.received) if call.method == method.grpc_path)

    def calls(self, method: Method) -> list[Received]:
        """Every call of the method."""
        return [call for call in self.received if call.method == method.grpc_path]

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_metadata_size", LARGEST_METADATA)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for service in {method.full_service for method in METHODS}:
            handlers = {method.name: self._handler(method) for method in METHODS if method.full_service == service}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        if self._credentials is None:
            self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        else:
            self._server.add_secure_port(f"127.0.0.1:{self.port}", self._credentials)
        await self._server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._websocket = await serve(
            self._echo,
            "127.0.0.1",
            self.websocket_port,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        )

    async def _stop(self, grace: float | None) -> None:
        if self._server and self._websocket:
            self._websocket.close()
            await self._websocket.wait_closed()
            await self._server.stop(grace)
            self._server = None

    def _handler(self, method: Method) -> grpc.RpcMethodHandler:
        async def unary(request: Message, context: grpc.aio.ServicerContext) -> Message:
            metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
            self.received.append(Received(method.grpc_path, request, metadata, context.time_remaining()))
            if method.grpc_path == KEY_METHOD:
                return self.keys
            behaviour = self._behaviours.get(method.grpc_path)
            return await behaviour(request, context) if behaviour else response_class(method)()

        async def stream(request: Message, context: grpc.aio.ServicerContext) -> None:
            await context.write(await unary(request, context))

        types = {
            "request_deserializer": request_class(method).FromString,
            "response_serializer": response_class(method).SerializeToString,
        }
        if method.streaming:
            return grpc.unary_stream_rpc_method_handler(stream, **types)
        return grpc.unary_unary_rpc_method_handler(unary, **types)

    async def _echo(self, connection: ServerConnection) -> None:
        self.handshakes.append(dict(connection.request.headers.raw_items()) if connection.request else {})
        async for frame in connection:
            await connection.send(frame)
