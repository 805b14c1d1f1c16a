"""What one caller's requests cost the others: a service has one event loop for everybody.

Time is the CPU time of the thread that runs the event loop: other processes of the machine do not count.
"""

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import grpc
import pytest

from mesh.runtime.loop_lag import ALERT_SECONDS, LoopLag

CALLS_PER_SECOND = 50
_HOSTILE_SECONDS = 3.0
_MILLISECONDS_AT_P99 = 100.0
"""For how long the event loop may keep a second user's call waiting while a hostile one is busy."""
_INTERVAL_SECONDS = 0.001


async def send_repeatedly(channel: grpc.aio.Channel, path: str, contents: Sequence[bytes], token: str) -> None:
    """Sends raw requests for some seconds, as fast as the gateway lets one user; each has to get INVALID_ARGUMENT."""
    call = channel.unary_unary(path)
    end = time.monotonic() + _HOSTILE_SECONDS
    while time.monotonic() < end:
        for content in contents:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(content, metadata=(("authorization", f"Bearer {token}"),), timeout=60)
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            await asyncio.sleep(1 / CALLS_PER_SECOND)


class Disturbance(NamedTuple):
    """What the second user observed; seconds, each in ascending order."""

    calls: Sequence[float]
    """Duration of each call of the second user."""
    waits: Sequence[float]
    """CPU that the event loop's thread spent during each of them: what other processes do meanwhile does not count."""
    longest_piece: float
    """CPU that it spent at most in one piece."""

    def check(self) -> None:
        """Fails unless no piece of work is too long, and 99 of 100 calls wait for others for 100 ms at most.

        On a quiet machine the duration of a call is its wait and a few milliseconds; on a busy one only half of the
        calls are held to that.
        """
        assert self.longest_piece <= ALERT_SECONDS, str(self)
        assert _percentile(self.waits, 99) * 1000 <= _MILLISECONDS_AT_P99, str(self)
        assert _percentile(self.calls, 50) * 1000 <= _MILLISECONDS_AT_P99, str(self)

    def __str__(self) -> str:
        p50, p99, longest = (_percentile(self.calls, share) * 1000 for share in (50, 99, 100))
        return (
            f"{len(self.calls)} calls of the second user: p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {longest:.0f} ms;"
            f" p99 of the event loop's work meanwhile {_percentile(self.waits, 99) * 1000:.0f} ms;"
            f" its longest piece {self.longest_piece * 1000:.0f} ms of CPU"
        )


async def disturbance(work: Awaitable[Any], call: Callable[[], Awaitable[Any]]) -> Disturbance:
    """Makes the second user's call again and again until the work is done; raises what either of them raises."""
    calls: list[float] = []
    waits: list[float] = []

    async def one_call() -> None:
        begun, spent = time.monotonic(), time.thread_time()
        await call()
        calls.append(time.monotonic() - begun)
        waits.append(time.thread_time() - spent)

    await call()  # opens connections
    gc.collect()
    gc.freeze()  # as a service does when it starts
    working = asyncio.ensure_future(work)
    lag = LoopLag(_INTERVAL_SECONDS)
    lag.start()
    try:
        async with asyncio.TaskGroup() as running:
            while not working.done():
                running.create_task(one_call())
                await asyncio.sleep(1 / CALLS_PER_SECOND)
        await working
    finally:
        working.cancel()
        await lag.close()
        gc.unfreeze()
    return Disturbance(sorted(calls), sorted(waits), lag.longest_piece)


def _percentile(ascending: Sequence[float], share: int) -> float:
    """The value that so many per cent do not exceed."""
    return ascending[max(0, math.ceil(len(ascending) * share / 100) - 1)]
