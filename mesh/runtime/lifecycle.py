"""Background loops: a PeriodicTask does one pass of its job; waiting, backing off, surviving and stopping live here."""

import asyncio
import contextlib
import logging
import random
from abc import ABC, abstractmethod
from typing import ClassVar

log = logging.getLogger(__name__)


def backoff(failures: int, *, least: float = 0.2, most: float = 30.0) -> float:
    """Seconds to wait after so many failures in a row: doubling, bounded, spread so that replicas are not in step."""
    longest = min(most, least * 2 ** min(failures - 1, 30))
    return random.uniform(longest / 2, longest)  # noqa: S311 (not a secret)


class PeriodicTask(ABC):
    """One job that is done again and again until the process stops.

    It runs again at once while there is work, after `wake()`, and otherwise after 50 ms, growing to `longest_wait`. An
    error of a pass is logged and followed by a longer wait; it never ends the loop.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors of parts that come and go: logged in one line, once per outage."""
    shortest_wait: ClassVar[float] = 0.05
    longest_wait: ClassVar[float] = 1.0
    """Seconds between two passes while there is nothing to do, first and in the end."""
    longest_backoff: ClassVar[float] = 30.0

    def __init__(self, name: str) -> None:
        self.name = name
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def run_once(self) -> int:
        """Does one pass; returns how much it did, 0 when there was nothing to do."""

    def rest(self, done: int) -> float:  # noqa: ARG002 (subclasses look at it)
        """Seconds to wait after a pass that did so much, though there may be more to do."""
        return 0.0

    def wake(self) -> None:
        """Ends the wait: there is something to do. Call it on the event loop."""
        self._woken.set()

    @property
    def ready(self) -> bool:
        """Always: what a loop does is not awaited by any call."""
        return True

    def start(self) -> None:
        """Begins to run; a second call changes nothing."""
        if self._task is None:
            self._stopping.clear()
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def close(self, grace: float = 5.0) -> None:
        """Lets the pass that runs end, for at most `grace` seconds; idempotent, also without a start."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        self._woken.set()
        await asyncio.wait([task], timeout=grace)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        wait, failures = self.shortest_wait, 0
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                done = await self.run_once()
            except Exception as error:  # noqa: BLE001 (a loop outlives every error of a pass)
                failures += 1
                self._tell(error, failures)
                await _first_of(self._stopping, backoff(failures, most=self.longest_backoff))
                continue
            if failures:
                log.info("loop %s works again", self.name)
                failures = 0
            if done:
                wait = self.shortest_wait
                await asyncio.sleep(self.rest(done))
            else:
                woken = await _first_of(self._woken, wait)
                wait = self.shortest_wait if woken else min(wait * 2, self.longest_wait)

    def _tell(self, error: Exception, failures: int) -> None:
        if not isinstance(error, self.expected):
            log.error("loop %s failed (%d in a row)", self.name, failures, exc_info=error)
        elif failures == 1:
            log.warning("loop %s waits: %s", self.name, error)


async def _first_of(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within the time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
