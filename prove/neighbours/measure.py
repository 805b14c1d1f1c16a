"""What the other user observes: calls to every service at a steady rate, whatever becomes of earlier ones."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import grpc
from focusmesh.todo.v1 import task_service_pb2
from grpc_health.v1 import health_pb2

from contract.methods import Method
from mesh.runtime.ids import new_id
from prove.logout import reads
from prove.neighbours.results import Sample
from stack.layout import LOOPBACK
from stack.stack import Stack

CALLS_PER_SECOND = 100
WRITE = "a write of todo"
_CALL_SECONDS = 10.0
_CREATE = "/focusmesh.todo.v1.TaskService/CreateTask"
_HEALTH = "/grpc.health.v1.Health/Check"
Call = Callable[[str], Awaitable[object]]
"""Made with the user's token."""


@asynccontextmanager
async def neighbour(stack: Stack, methods: Sequence[Method]) -> AsyncIterator["Neighbour"]:
    """The other user, connected: a cheap read of every service and a write of todo, through the gateway.

    Services without a call that needs nothing, such as realtime, say straight whether they serve.
    """
    front = grpc.aio.insecure_channel(stack.gateway_target)
    channels = [front]
    known = reads(methods)
    calls: dict[str, Call] = {}
    for service in stack.services:
        if path := known.get(service.name):
            calls[service.name] = _call(front, path, bytes)
        else:
            [replica, *_] = stack.replicas_of(service.name)
            channels.append(grpc.aio.insecure_channel(f"{LOOPBACK}:{replica.port(stack.ports)}"))
            calls[service.name] = _call(channels[-1], _HEALTH, health_pb2.HealthCheckRequest().SerializeToString)
    calls[WRITE] = _call(front, _CREATE, _task)
    try:
        yield Neighbour(calls)
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


class Neighbour:
    """Calls in turn; keeps a sample of each call."""

    def __init__(self, calls: Mapping[str, Call]) -> None:
        self._calls = list(calls.items())
        self._turn = 0
        self.token = ""

    async def until(self, over: Callable[[], bool], least: int, settling: Callable[[], bool]) -> list[Sample]:
        """Calls until it is over, and at least so often. Returns a sample of each call.

        settling: whether the attack has ended, and only its events are on their way.
        """
        samples: list[Sample] = []
        running: set[asyncio.Task[None]] = set()
        began, sent = time.monotonic(), 0
        while not over() or sent < least:
            due = int((time.monotonic() - began) * CALLS_PER_SECOND)
            for _ in range(due - sent):
                task = asyncio.create_task(self._sample(samples, settling=settling()))
                running.add(task)
                task.add_done_callback(running.discard)
            sent = max(sent, due)
            await asyncio.sleep(1 / CALLS_PER_SECOND)
        await asyncio.gather(*running)
        return samples

    async def _sample(self, samples: list[Sample], *, settling: bool) -> None:
        name, call = self._calls[self._turn % len(self._calls)]
        self._turn += 1
        began, refusal = time.monotonic(), ""
        try:
            await call(self.token)
        except grpc.aio.AioRpcError as error:
            refusal = error.code().name
        samples.append(Sample(name, time.monotonic() - began, refusal, settling))


def _call(channel: grpc.aio.Channel, path: str, content: Callable[[], bytes]) -> Call:
    stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)

    async def call(token: str) -> object:
        return await stub(content(), metadata=(("authorization", f"Bearer {token}"),), timeout=_CALL_SECONDS)

    return call


def _task() -> bytes:
    return task_service_pb2.CreateTaskRequest(title="Buy groceries", request_id=new_id()).SerializeToString()
