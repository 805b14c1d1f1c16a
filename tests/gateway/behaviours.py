"""What a service behind the gateway can do with a call."""

from collections.abc import Awaitable, Callable

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status

from tests.gateway.upstream import Behaviour


def refusing(code: str, message: str, *details: Message) -> Behaviour:
    async def behaviour(_: Message, context: grpc.aio.ServicerContext) -> Message:
        packed = [any_pb2.Any() for _ in details]
        for into, detail in zip(packed, details, strict=True):
            into.Pack(detail)
        status = status_pb2.Status(code=grpc.StatusCode[code].value[0], message=message, details=packed)
        await context.abort_with_status(rpc_status.to_status(status))

    return behaviour


def returning(response: Message) -> Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message]]:
    async def behaviour(*_: object) -> Message:
        return response

    return behaviour
