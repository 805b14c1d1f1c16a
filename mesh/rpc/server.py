"""The gRPC server of a service: limits, health, reflection."""

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from mesh.runtime import tls
from mesh.runtime.settings import ServiceSettings

LARGEST_METADATA = 24 * 1024
"""The gateway passes 64 headers of 16 KiB on. gRPC counts 32 bytes more for each, and above this refuses by chance."""
LARGEST_RESPONSE = 4 * 1024 * 1024
_STREAMS_PER_CONNECTION = 1000
"""The gateway multiplexes all callers over few connections and itself allows 100 streams a client."""
_PENDING = 200
"""Calls that wait until gRPC takes them up: what it does in a quarter of a second. Beyond it gRPC cancels some of them
by itself, beyond twice as many all. The gateway, whose limits are lower, never gets there."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """A grpc.aio server that starts as NOT_SERVING."""

    def __init__(self, settings: ServiceSettings, largest_request: int) -> None:
        """settings: address, certificates, reflection; the port is opened by `start`. largest_request: in bytes."""
        self.grpc = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", largest_request),
                ("grpc.max_send_message_length", LARGEST_RESPONSE),
                ("grpc.max_metadata_size", LARGEST_METADATA),
                ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION),
                ("grpc.server.max_pending_requests", _PENDING),
                ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ]
        )
        self._settings = settings
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        self._services: list[str] = [""]

    async def start(self, services: list[str]) -> None:
        """Listens; raises RuntimeError when the port is taken. services: full names, as health knows them."""
        self._services += services
        await self.set_serving_status(NOT_SERVING)
        if self._settings.reflection:
            names = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self.grpc)
            self.grpc.add_generic_rpc_handlers((_newer_reflection(names),))
        credentials = tls.server_credentials(self._settings)
        if credentials is None:
            self.grpc.add_insecure_port(self._settings.listen)
        else:
            self.grpc.add_secure_port(self._settings.listen, credentials)
        await self.grpc.start()

    async def set_serving_status(self, state: Any) -> None:
        """Sets what health checks of every service return."""
        for service in self._services:
            await self._health.set(service, state)

    async def stop(self, grace: float) -> None:
        """Stops accepting calls; running ones have `grace` seconds."""
        await self.grpc.stop(grace)


def _newer_reflection(services: list[str]) -> grpc.GenericRpcHandler:
    """The same as v1, which newer clients ask for first: its messages are those of v1alpha under another name."""
    rpc = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(services).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    name = reflection.SERVICE_NAME.replace("v1alpha", "v1")
    return grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": rpc})
