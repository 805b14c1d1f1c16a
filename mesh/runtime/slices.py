"""Runs long computations on the event loop in slices of time, between which other tasks run."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

Item = TypeVar("Item")

_SLICE_SECONDS = 0.002
"""A call takes about ten iterations of the event loop, so a concurrent computation adds about 20 ms to it."""
_PAUSE_SECONDS = 0.002
"""Pause after a slice, so that gRPC's threads get the interpreter's lock: a busy loop keeps it for 5 ms."""


class _Turn:
    """The computations of one event loop; the holder of `lock` runs."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.spent = 0.0
        """Seconds since the last pause, of all computations."""


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()


async def in_slices(items: Iterable[Item]) -> list[Item]:
    """`list(items)` for items that are costly to make; a slice ends with the item that exceeds it.

    All computations of an event loop take turns: however many there are, other tasks wait for one slice only. A
    computation shorter than a slice does not wait. The caller bounds the memory.
    """
    turn = _turns.setdefault(asyncio.get_running_loop(), _Turn())
    iterator, made, more = iter(items), list[Item](), True
    while more:
        async with turn.lock:
            begun = time.monotonic()
            try:
                more = _fill(made, iterator, until=begun + _SLICE_SECONDS - turn.spent)
            finally:
                turn.spent += time.monotonic() - begun
            if turn.spent >= _SLICE_SECONDS:
                turn.spent = 0.0
                await asyncio.sleep(_PAUSE_SECONDS)
    return made


def _fill(made: list[Item], items: Iterator[Item], *, until: float) -> bool:
    """Makes items until the time has passed; returns whether there may be more."""
    for item in items:
        made.append(item)
        if time.monotonic() >= until:
            return True
    return False
