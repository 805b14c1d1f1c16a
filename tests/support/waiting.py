"""Waiting for what has to happen, with a deadline."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], "bool | Awaitable[bool]"], what: str, seconds: float = 15) -> None:
    """Returns once the condition holds; fails with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)
