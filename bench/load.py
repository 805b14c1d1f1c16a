"""The load generator, a process of its own: reads one job a line as JSON, and writes one line of results for each.

    python -m bench.load

Closed loop: as many callers as are to be in flight, each sending its next request after the last response. gRPC goes
through grpc.aio with bytes in and bytes out, the same for every gRPC row; REST through a bare HTTP/1.1 client on
keep-alive connections, one a caller. Every create carries a `request_id` of its own.
"""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from itertools import count
from time import perf_counter
from typing import TypeAlias

import grpc
import uvloop

from harness.http import Connection

CHANNELS = 4
"""Most connections of a gRPC job; each is shared by several callers."""
_CALL_SECONDS = 10.0
_FAILURES_KEPT = 3

Call: TypeAlias = Callable[[], Awaitable[None]]


class FailedError(Exception):
    """A response that is not a success."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One measurement."""

    kind: str
    """grpc or http."""
    address: str
    """host:port."""
    path: str
    method: str = "POST"
    """Of HTTP."""
    headers: dict[str, str]
    body: str = ""
    """Hexadecimal."""
    fresh_id: str = ""
    """Hexadecimal; what comes before a request_id. With it, that and a fresh UUID are put before the body."""
    in_flight: int
    seconds: float


@dataclass
class Outcome:
    """The results of a job."""

    seconds: float = 0.0
    succeeded: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    """The first few."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    def fail(self, error: Exception) -> None:
        """Counts a failure."""
        self.failed += 1
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append(f"{type(error).__name__}: {error}")


def bodies(job: Job) -> Callable[[], bytes]:
    """Makes the body of the next request."""
    body = bytes.fromhex(job.body)
    if not job.fresh_id:
        return lambda: body
    before = bytes.fromhex(job.fresh_id) + str(uuid.uuid4())[:24].encode()
    numbers = count()
    return lambda: b"%b%012x%b" % (before, next(numbers), body)


@asynccontextmanager
async def grpc_calls(job: Job) -> AsyncIterator[list[Call]]:
    """A call for every caller."""
    metadata = tuple(job.headers.items())
    body = bodies(job)
    async with AsyncExitStack() as stack:
        methods: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = []
        for _ in range(min(CHANNELS, job.in_flight)):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(job.address, options=options))
            await channel.channel_ready()
            methods.append(channel.unary_unary(job.path))

        def caller(method: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]") -> Call:
            async def call() -> None:
                if not await method(body(), metadata=metadata, timeout=_CALL_SECONDS):
                    raise FailedError("empty response")

            return call

        yield [caller(methods[index % len(methods)]) for index in range(job.in_flight)]


@asynccontextmanager
async def http_calls(job: Job) -> AsyncIterator[list[Call]]:
    """A call for every caller."""
    body = bodies(job)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"host": job.address, **job.headers}.items())
    start = f"{job.method} {job.path} HTTP/1.1\r\n{head}content-length: {len(body())}\r\n\r\n".encode()
    connections: list[Connection] = []
    try:
        for _ in range(job.in_flight):
            connections.append(await Connection.open(job.address))

        def caller(connection: Connection) -> Call:
            async def call() -> None:
                async with asyncio.timeout(_CALL_SECONDS):
                    response = await connection.exchange(start + body())
                if response.status != HTTPStatus.OK:
                    raise FailedError(f"{response.status} {response.body[:300].decode(errors='replace')}")

            return call

        yield [caller(connection) for connection in connections]
    finally:
        for connection in connections:
            connection.close()


async def run(job: Job) -> Outcome:
    """Sends for the job's seconds; what is in flight at the end is awaited and counted."""
    outcome, latencies = Outcome(), list[float]()

    async def caller(call: Call, end: float) -> None:
        while (sent := perf_counter()) < end:
            try:
                await call()
            except (grpc.aio.AioRpcError, FailedError, OSError) as error:
                outcome.fail(error)
            else:
                latencies.append(perf_counter() - sent)

    async with (grpc_calls if job.kind == "grpc" else http_calls)(job) as calls:
        began = perf_counter()
        await asyncio.gather(*(caller(call, began + job.seconds) for call in calls))
        outcome.seconds = perf_counter() - began
    latencies.sort()
    outcome.succeeded = len(latencies)
    outcome.p50_ms, outcome.p99_ms = percentile(latencies, 0.50) * 1000, percentile(latencies, 0.99) * 1000
    return outcome


def percentile(ascending: list[float], share: float) -> float:
    """The value that `share` of all are not above; 0 for none."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else 0.0


async def serve() -> None:
    """Runs jobs until the input ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(asdict(await run(Job(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
