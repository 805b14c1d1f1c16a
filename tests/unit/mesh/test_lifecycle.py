"""Loops: what runs again, when, and what survives."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from mesh.runtime.lifecycle import PeriodicTask, backoff


class Scripted(PeriodicTask):
    """Does what its script says, pass by pass; nothing once the script is over."""

    longest_backoff: ClassVar[float] = 0.01

    def __init__(self, *script: int | Exception) -> None:
        super().__init__("scripted")
        self.script = list(script)
        self.passes = 0
        self.passed = asyncio.Event()

    async def run_once(self) -> int:
        self.passes += 1
        self.passed.set()
        step = self.script.pop(0) if self.script else 0
        if isinstance(step, Exception):
            raise step
        return step

    async def reached(self, passes: int) -> None:
        async with asyncio.timeout(5):
            while self.passes < passes:
                self.passed.clear()
                await self.passed.wait()


class Patient(Scripted):
    """Waits an hour when it is idle."""

    shortest_wait: ClassVar[float] = 3600.0
    longest_wait: ClassVar[float] = 3600.0


async def test_a_loop_runs_again_at_once_while_there_is_work() -> None:
    loop = Patient(3, 2, 1)
    loop.start()
    await loop.reached(4)
    await loop.close()


async def test_waking_ends_the_wait() -> None:
    loop = Patient()
    loop.start()
    await loop.reached(1)
    loop.wake()
    await loop.reached(2)
    await loop.close()


async def test_waking_during_a_pass_is_not_forgotten() -> None:
    class WokenWhileAtWork(Patient):
        async def run_once(self) -> int:
            if self.passes == 0:
                self.wake()
            return await super().run_once()

    loop = WokenWhileAtWork()
    loop.start()
    await loop.reached(2)
    await loop.close()


async def test_an_idle_loop_looks_again_by_itself() -> None:
    loop = Scripted()
    loop.start()
    await loop.reached(3)
    await loop.close()


async def test_a_failing_pass_never_ends_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    loop = Scripted(RuntimeError("first"), ValueError("second"), 1)
    loop.start()
    await loop.reached(4)
    await loop.close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_part_that_is_away_is_told_once_and_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    class Expecting(Scripted):
        expected = (ConnectionError,)

    loop = Expecting(ConnectionError("gone"), ConnectionError("gone"), ConnectionError("gone"), 1)
    loop.start()
    await loop.reached(5)
    await loop.close()
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]


async def test_closing_lets_the_pass_in_work_end() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow(PeriodicTask):
        async def run_once(self) -> int:
            begun.set()
            await may_end.wait()
            ended.set()
            return 0

    loop = Slow("slow")
    loop.start()
    await begun.wait()
    closing = asyncio.create_task(loop.close())
    may_end.set()
    await closing
    assert ended.is_set()


async def test_closing_gives_up_on_a_pass_that_hangs() -> None:
    begun = asyncio.Event()

    class Hanging(PeriodicTask):
        async def run_once(self) -> int:
            begun.set()
            await asyncio.Event().wait()
            return 0

    loop = Hanging("hanging")
    loop.start()
    await begun.wait()
    async with asyncio.timeout(2):
        await loop.close(grace=0.01)


@pytest.mark.parametrize("before", [lambda _: None, lambda loop: loop.start()], ids=["never started", "started"])
async def test_closing_twice_changes_nothing(before: Callable[[PeriodicTask], Awaitable[None] | None]) -> None:
    loop = Patient()
    before(loop)
    await loop.close()
    await loop.close()


def test_waits_grow_to_a_bound_and_are_spread() -> None:
    for failures, longest in [(1, 0.2), (2, 0.4), (5, 3.2), (9, 30.0), (1000, 30.0)]:
        waits = [backoff(failures) for _ in range(200)]
        assert all(longest / 2 <= wait <= longest for wait in waits)
        assert len(set(waits)) > 100
