"""What one caller's requests cost the others: a service has one event loop for everybody.

Time is the CPU time of the thread that runs the event loop: other processes of the machine do not count.
"""

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest

MILLISECONDS_AT_P99 = 100.0
"""For how long the event loop may keep a second user's call waiting while a hostile one is busy."""


async def send_again_and_again(channel: grpc.aio.Channel, path: str, contents: Sequence[bytes], token: str) -> None:
    """Sends raw requests one after the other, for ever; each has to be refused as INVALID_ARGUMENT."""
    call = channel.unary_unary(path)
    while True:
        for content in contents:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(content, metadata=(("authorization", f"Bearer {token}"),), timeout=60)
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def p99_beside(hostile: Awaitable[Any], call: Callable[[], Awaitable[Any]], seconds: float = 3.0) -> float:
    """Milliseconds of the second user's calls at the 99th percentile while `hostile` runs; failures are raised."""
    await call()
    gc.freeze()  # as a service does; what pytest keeps takes the collector 200 ms
    running = asyncio.ensure_future(hostile)
    took: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.thread_time()
        await call()
        took.append(time.thread_time() - began)
        await asyncio.sleep(0.005)
    gc.unfreeze()
    if running.done():
        running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return 1000 * sorted(took)[math.ceil(0.99 * len(took)) - 1]
