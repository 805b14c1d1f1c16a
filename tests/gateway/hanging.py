"""A service that takes calls and never responds, in a process of its own, to be killed: `python -m … PORT`.

It prints `serving` when it serves, and `working` for every call.
"""

import asyncio
import sys

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from harness.rpcs import METHODS, request_class, response_class


async def hang(*_: object) -> Message:
    """Begins a call and never ends it."""
    sys.stdout.write("working\n")
    sys.stdout.flush()
    await asyncio.Event().wait()
    raise AssertionError


async def serve(port: int) -> None:
    """Serves until it is killed."""
    server = grpc.aio.server()
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for service in {method.full_service for method in METHODS}:
        handlers = {
            method.name: grpc.unary_unary_rpc_method_handler(
                hang,
                request_deserializer=request_class(method).FromString,
                response_serializer=response_class(method).SerializeToString,
            )
            for method in METHODS
            if method.full_service == service
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
