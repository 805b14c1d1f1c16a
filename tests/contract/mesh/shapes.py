"""A service of four RPCs, one of each call shape, that exists for tests of the interceptor only."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from focusmesh.policy.v1 import policy_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.rpc.call import Context, current_call
from mesh.runtime.errors import NotFound

SERVICE = "focusmesh.shapes.v1.ShapesService"
SHAPES = {"Once": (False, False), "Many": (False, True), "Collect": (True, False), "Chat": (True, True)}


def compute(seconds: float) -> None:
    """Uses so much CPU, however busy the machine is."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class NothingThere(NotFound):
    """An error of the test service."""

    reason = "NOTHING_THERE"
    message = "There is no thing {thing_id}."


def declare(service: str, rule: policy_pb2.Rule | None) -> None:
    """Adds a service with every call shape to the descriptor pool."""
    package, _, name = service.rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(name=f"{service}.proto", package=package, syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    declared = file.service.add(name=name)
    for method, (streams_in, streams_out) in SHAPES.items():
        added = declared.method.add(
            name=method,
            input_type=".google.protobuf.StringValue",
            output_type=".google.protobuf.StringValue",
            client_streaming=streams_in,
            server_streaming=streams_out,
        )
        if rule is not None:
            added.options.Extensions[policy_pb2.rule].CopyFrom(rule)
    descriptor_pool.Default().Add(file)


class Shapes:
    """Echoes words; `refuse`, `break`, `wait` and `compute` do what they say; `abort` ends the call by its context."""

    async def Once(self, request: StringValue, context: Context) -> StringValue:
        return await _respond(request.value, context)

    async def Many(self, request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        for word in request.value.split():
            yield await _respond(word, context)

    async def Collect(self, requests: AsyncIterator[StringValue], context: Context) -> StringValue:
        return StringValue(
            value=" ".join([(await _respond(request.value, context)).value async for request in requests])
        )

    async def Chat(self, requests: AsyncIterator[StringValue], context: Context) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield await _respond(request.value, context)


async def _respond(word: str, context: Context) -> StringValue:
    if word == "wait":
        await asyncio.Event().wait()
    if word == "compute":
        compute(0.3)
    if word == "refuse":
        raise NothingThere(thing_id="t1")
    if word == "break":
        raise RuntimeError("the password is hunter2")
    if word == "abort":
        context.set_trailing_metadata((("x-aborted", "yes"),))
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, "aborted by its handler")
    if word == "who":
        return StringValue(value=current_call().user_id)
    return StringValue(value=word)


def register(service: str, servicer: Any, server: Any) -> None:
    """What a generated `add_…Servicer_to_server` does."""
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    server.add_registered_method_handlers(
        service,
        {
            name: make[shape](getattr(servicer, name), StringValue.FromString, StringValue.SerializeToString)
            for name, shape in SHAPES.items()
        },
    )


_LOST_STATUSES = 3


class Caller:
    """Calls any shape with words and returns the words of the responses."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(self, method: str, *words: str, token: str = "", timeout: float = 5) -> list[str]:
        """Calls again where grpc.aio, whose call was refused while it still wrote, lost the status of the refusal."""
        for _ in range(_LOST_STATUSES):
            try:
                return await self._call(method, *words, token=token, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                if error.details() != "Internal error from Core":
                    raise
        return await self._call(method, *words, token=token, timeout=timeout)

    async def _call(self, method: str, *words: str, token: str, timeout: float) -> list[str]:
        path = f"/{SERVICE}/{method}"
        coding = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        requests = [StringValue(value=word) for word in words]
        joined = StringValue(value=" ".join(words))
        if method == "Once":
            return [(await self._channel.unary_unary(path, **coding)(joined, metadata=metadata, timeout=timeout)).value]
        if method == "Many":
            stream = self._channel.unary_stream(path, **coding)(joined, metadata=metadata, timeout=timeout)
            return [response.value async for response in stream]
        if method == "Collect":
            return [
                (await self._channel.stream_unary(path, **coding)(requests, metadata=metadata, timeout=timeout)).value
            ]
        chat = self._channel.stream_stream(path, **coding)(requests, metadata=metadata, timeout=timeout)
        return [response.value async for response in chat]

    async def raw(self, method: str, content: bytes, *, token: str = "") -> bytes:
        """Sends these bytes as the request."""
        path, metadata = f"/{SERVICE}/{method}", (("authorization", f"Bearer {token}"),)
        streams_in, streams_out = SHAPES[method]
        if streams_in:
            requests = [content]
            if streams_out:
                chat = self._channel.stream_stream(path)(requests, metadata=metadata, timeout=5)
                return b"".join([response async for response in chat])
            return await self._channel.stream_unary(path)(requests, metadata=metadata, timeout=5)
        if streams_out:
            stream = self._channel.unary_stream(path)(content, metadata=metadata, timeout=5)
            return b"".join([response async for response in stream])
        return await self._channel.unary_unary(path)(content, metadata=metadata, timeout=5)

    async def without_request(self, method: str, *, token: str) -> None:
        """Ends the requests of a call before there was one."""
        stream = self._channel.stream_stream(f"/{SERVICE}/{method}")
        call = stream(iter(()), metadata=(("authorization", f"Bearer {token}"),), timeout=5)
        assert [response async for response in call] == []

    async def silent(self, method: str, *, token: str) -> None:
        """Begins a call and waits for two seconds, without a request."""
        stream = self._channel.stream_stream(f"/{SERVICE}/{method}")
        await stream(metadata=(("authorization", f"Bearer {token}"),), timeout=2).read()

    def open(self, token: str) -> Any:
        """A call that runs until the caller ends it; echoes each word that is written."""
        chat = self._channel.stream_stream(
            f"/{SERVICE}/Chat",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=StringValue.FromString,
        )
        return chat(metadata=(("authorization", f"Bearer {token}"),))

    async def healthy(self) -> bool:
        """The status that the health service reports."""
        response = await health_pb2_grpc.HealthStub(self._channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


MOST_CALLS = 3
