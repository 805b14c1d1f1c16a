"""Waiting for a condition, with a deadline."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

from stack.errors import StackError

SECONDS = 15.0
_POLL_SECONDS = 0.01


async def until(
    condition: Callable[[], "object | Awaitable[object]"],
    what: str,
    seconds: float = SECONDS,
    *,
    poll: float = _POLL_SECONDS,
    advice: str = "",
) -> None:
    """Waits, in an event loop, until the condition holds; raises StackError when it does not in time.

    advice: what a person should try then.
    """
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        if holds:
            return
        _check(deadline, what, seconds, advice)
        await asyncio.sleep(poll)


def wait_until(
    condition: Callable[[], object],
    what: str,
    seconds: float = SECONDS,
    *,
    poll: float = _POLL_SECONDS,
    advice: str = "",
) -> None:
    """Does what `until` does, outside of an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        _check(deadline, what, seconds, advice)
        time.sleep(poll)


def _check(deadline: float, what: str, seconds: float, advice: str) -> None:
    if time.monotonic() > deadline:
        raise StackError(f"not within {seconds:g} s: {what}", advice=advice)
