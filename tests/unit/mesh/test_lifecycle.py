"""What runs again, when, what survives, and how it stops."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from harness.waiting import until
from mesh.runtime import lifecycle
from mesh.runtime.lifecycle import PeriodicTask, SupervisedTask, backoff


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


async def test_a_periodic_task_runs_again_at_once_while_there_is_work() -> None:
    task = Patient(3, 2, 1)
    task.start()
    await task.reached(4)
    await task.close()


async def test_waking_ends_the_wait() -> None:
    task = Patient()
    task.start()
    await task.reached(1)
    task.wake()
    await task.reached(2)
    await task.close()


async def test_waking_during_a_pass_is_not_forgotten() -> None:
    class WokenWhileAtWork(Patient):
        async def run_once(self) -> int:
            if self.passes == 0:
                self.wake()
            return await super().run_once()

    task = WokenWhileAtWork()
    task.start()
    await task.reached(2)
    await task.close()


async def test_a_task_that_says_when_it_looks_again_does_so_once_however_often_it_is_woken() -> None:
    class Timed(Patient):
        async def run_once(self) -> int:
            self.wake_in(0.2)
            return await super().run_once()

    task = Timed()
    task.start()
    for woken in range(1, 20):
        await task.reached(woken)
        await asyncio.sleep(0.005)
        task.wake()
    await task.reached(20)
    await asyncio.sleep(0.5)
    await task.close()
    assert 21 <= task.passes <= 24


async def test_an_idle_task_looks_again_by_itself() -> None:
    task = Scripted()
    task.start()
    await task.reached(3)
    await task.close()


async def test_a_failing_pass_never_ends_the_task(caplog: pytest.LogCaptureFixture) -> None:
    task = Scripted(RuntimeError("first"), ValueError("second"), 1)
    task.start()
    await task.reached(4)
    await task.close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_dependency_that_is_away_is_logged_once_and_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    class Expecting(Scripted):
        expected = (ConnectionError,)

    task = Expecting(ConnectionError("gone"), ConnectionError("gone"), ConnectionError("gone"), 1)
    task.start()
    await task.reached(5)
    await task.close()
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]


async def test_closing_lets_the_pass_in_work_end() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow(PeriodicTask):
        async def run_once(self) -> int:
            begun.set()
            await may_end.wait()
            ended.set()
            return 0

    task = Slow("slow")
    task.start()
    await begun.wait()
    closing = asyncio.create_task(task.close())
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

    task = Hanging("hanging")
    task.start()
    await begun.wait()
    async with asyncio.timeout(2):
        await task.close(grace=0.01)


@pytest.mark.parametrize("before", [lambda _: None, lambda task: task.start()], ids=["never started", "started"])
async def test_closing_twice_changes_nothing(before: Callable[[PeriodicTask], Awaitable[None] | None]) -> None:
    task = Patient()
    before(task)
    await task.close()
    await task.close()


def test_waits_grow_to_a_bound_and_are_spread() -> None:
    for failures, longest in [(1, 0.2), (2, 0.4), (5, 3.2), (9, 30.0), (1000, 30.0)]:
        waits = [backoff(failures) for _ in range(200)]
        assert all(longest / 2 <= wait <= longest for wait in waits)
        assert len(set(waits)) > 100


class Connecting(SupervisedTask):
    """Fails as its script says, then works until it is closed."""

    expected = (OSError,)
    longest_backoff: ClassVar[float] = 0.01

    def __init__(self, *failures: Exception) -> None:
        super().__init__("connecting")
        self.failures = list(failures)
        self.lost = asyncio.Event()

    async def run(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.succeeded()
        await self.lost.wait()
        self.lost.clear()
        raise ConnectionResetError("lost")


async def test_what_fails_begins_again_and_is_ready_once_it_works() -> None:
    task = Connecting(ConnectionRefusedError(), RuntimeError())
    task.start()
    assert not task.ready
    await until(lambda: task.ready, "it works")
    task.failures.append(ConnectionRefusedError())
    task.lost.set()
    await until(lambda: not task.ready, "it lost its connection")
    await until(lambda: task.ready, "it works again")
    await task.close()
    assert not task.ready


async def test_every_outage_is_logged_once_for_each_kind_of_error_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    task = Connecting(*(kind("away") for kind in (ConnectionError, TimeoutError) * 3))
    task.start()
    await until(lambda: task.ready, "it works")
    task.lost.set()
    await until(lambda: len(caplog.records) >= 5, "the second outage is over")
    await task.close()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "connecting: retries after ConnectionError: away"),
        ("WARNING", "connecting: retries after TimeoutError: away"),
        ("INFO", "connecting: works again"),
        ("WARNING", "connecting: retries after ConnectionResetError: lost"),
        ("INFO", "connecting: works again"),
    ]


async def test_closing_does_not_wait_for_a_backoff() -> None:
    class Failing(SupervisedTask):
        longest_backoff: ClassVar[float] = 3600.0

        async def run(self) -> None:
            raise RuntimeError

    task = Failing("failing")
    task._failures = 1000  # the backoff is an hour
    task.start()
    await until(lambda: task._failures > 1000, "it failed")
    async with asyncio.timeout(1):
        await task.close()


async def test_a_swallowed_cancellation_is_repeated_until_it_ends_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_CANCEL_AGAIN_SECONDS", 0.01)
    swallowed = 0

    class Deaf(SupervisedTask):
        async def run(self) -> None:
            nonlocal swallowed
            self.succeeded()
            while swallowed < 3:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    swallowed += 1
            await asyncio.Event().wait()

    task = Deaf("deaf")
    task.start()
    await until(lambda: task.ready, "it runs")
    async with asyncio.timeout(2):
        await task.close()
    assert swallowed == 3


async def test_a_job_that_is_over_stays_ready_until_it_is_closed() -> None:
    class Opening(SupervisedTask):
        async def run(self) -> None:
            self.succeeded()

    task = Opening("opening")
    task.start()
    await until(lambda: task.ready, "it is open")
    await task.close()
    task.start()
    await until(lambda: task.ready, "it may be started again")
    await task.close()
