"""Start, run, retry, stop: written once, for everything in a process that lives as long as its service."""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from typing import ClassVar

log = logging.getLogger(__name__)

_CANCEL_AGAIN_SECONDS = 0.5
_SHORTEST_PAUSE_SECONDS = 0.02
"""Until what another replica has locked is looked for again."""


def backoff(failures: int, *, least: float = 0.2, most: float = 30.0) -> float:
    """Seconds to wait after so many failures in a row: doubling, bounded, spread so that replicas are not in step."""
    longest = min(most, least * 2 ** min(failures - 1, 30))
    return random.uniform(longest / 2, longest)  # noqa: S311 (not a secret)


async def occurs(event: asyncio.Event, *, within: float) -> bool:
    """Whether the event is set within so many seconds."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False


class Component:
    """What a service starts and closes beside its server: a pool, a consumer, a periodic task."""

    @property
    def ready(self) -> bool:
        """Whether the service can serve as far as this component goes."""
        return True

    def start(self) -> None:
        """Begins; never waits for another process."""

    def on_serving(self, serving: bool) -> None:
        """The service says from now on that it serves, or that it does not: it lacks something, or is about to stop."""

    async def close(self) -> None:
        """Ends what `start` began; idempotent, also without a start."""


class SupervisedTask(Component, ABC):
    """One asyncio task from start to close, whose `run` begins again after a backoff when it raises."""

    expected: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors of dependencies that come and go: logged in one line, each kind once per outage."""
    longest_backoff: ClassVar[float] = 30.0
    """Seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._reported: set[type[Exception]] = set()
        self._works = False

    @abstractmethod
    async def run(self) -> None:
        """Does the job and calls `succeeded` whenever it works; returns only when the job is over."""

    @property
    def ready(self) -> bool:
        """Whether `run` succeeded since it failed last."""
        return self._works

    def start(self) -> None:
        """Begins to run; a second call changes nothing."""
        if self._task is None:
            self._stopping.clear()
            self._task = asyncio.get_running_loop().create_task(self._supervise(), name=self.name)

    async def close(self, grace: float = 0.0) -> None:
        """Cancels `run` when it has not ended by itself within `grace` seconds; idempotent, also without a start."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        await asyncio.wait([task], timeout=grace)
        while not task.done():
            # Repeat: `asyncio.wait_for` of Python 3.11, used by clients, may swallow a cancellation.
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_AGAIN_SECONDS)
        self._works = False

    def succeeded(self) -> None:
        """Ends an outage: the next failure is the first one again."""
        if self._failures:
            log.info("%s: works again", self.name)
            self._failures = 0
            self._reported.clear()
        self._works = True

    async def _supervise(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.run()
            except Exception as error:  # noqa: BLE001 (the task outlives every error of its job)
                self._works = False
                self._failures += 1
                self._report(error)
                await occurs(self._stopping, within=backoff(self._failures, most=self.longest_backoff))
            else:
                return

    def _report(self, error: Exception) -> None:
        if not isinstance(error, self.expected):
            log.error("%s: failed (%d in a row)", self.name, self._failures, exc_info=error)
        elif type(error) not in self._reported:
            log.warning("%s: retries after %s: %s", self.name, type(error).__name__, error)
            self._reported.add(type(error))


class PeriodicTask(SupervisedTask):
    """One job in passes: again at once while there is work, after `wake()`, and otherwise after a growing wait."""

    shortest_wait: ClassVar[float] = 0.05
    longest_wait: ClassVar[float] = 1.0
    """Seconds between two passes while there is nothing to do, first and in the end."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._woken = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @abstractmethod
    async def run_once(self) -> int:
        """Does one pass; returns how much it did, 0 when there was nothing to do."""

    def pause_after(self, done: int) -> float:  # noqa: ARG002 (subclasses look at it)
        """Seconds to wait after a pass that did so much, though there may be more to do."""
        return 0.0

    def wake(self) -> None:
        """Ends the wait: there is something to do. Call it on the event loop."""
        self._woken.set()

    def wake_in(self, seconds: float | None) -> None:
        """Wakes after so many seconds, when that is sooner than it looks by itself; None for never.

        In place of the time that was said before: else each pass that says one would cause one more pass.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and seconds < self.longest_wait:
            self._timer = asyncio.get_running_loop().call_later(max(_SHORTEST_PAUSE_SECONDS, seconds), self.wake)

    @property
    def ready(self) -> bool:
        """True: no call waits for what a periodic task does."""
        return True

    async def close(self, grace: float = 5.0) -> None:
        """Lets the running pass end, for at most `grace` seconds."""
        self._stopping.set()
        self._woken.set()
        await super().close(grace)

    async def run(self) -> None:
        """Repeats `run_once` until the task is closed."""
        wait = self.shortest_wait
        while not self._stopping.is_set():
            self._woken.clear()
            done = await self.run_once()
            self.succeeded()
            if done:
                wait = self.shortest_wait
                await asyncio.sleep(self.pause_after(done))
            else:
                woken = await occurs(self._woken, within=wait)
                wait = self.shortest_wait if woken else min(wait * 2, self.longest_wait)
