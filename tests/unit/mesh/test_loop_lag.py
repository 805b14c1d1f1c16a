"""Whatever keeps an event loop for more than 50 ms in one piece is measured, and named in the log."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from harness.waiting import until
from mesh.events.delivery import Delivery
from mesh.events.envelope import ConsumedEvent, Message, envelope
from mesh.events.outbox import Event
from mesh.runtime.ids import new_id
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.loop_lag import ALERT_SECONDS, BLOCKED_SECONDS, LoopLag

TOO_LONG, LONG = 0.3, ALERT_SECONDS / 2


def compute(seconds: float) -> None:
    """Uses so much CPU, however busy the machine is."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Computing(PeriodicTask):
    """Computes in its first pass."""

    def __init__(self, seconds: float) -> None:
        super().__init__("computing")
        self.left = [seconds]

    async def run_once(self) -> int:
        if self.left:
            compute(self.left.pop())
        return 0


class ComputingHandler:
    """Computes for a batch of events."""

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        compute(TOO_LONG)


@pytest.fixture
async def lag() -> AsyncIterator[LoopLag]:
    """Measures the loop of the test."""
    lag = LoopLag()
    lag.start()
    yield lag
    await lag.close()


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "event loop was kept" in record.getMessage()]


async def test_a_periodic_task_that_keeps_the_loop_is_reported_by_name(
    lag: LoopLag, caplog: pytest.LogCaptureFixture
) -> None:
    task = Computing(TOO_LONG)
    task.start()
    await until(lambda: reports(caplog), "the task is reported")
    await task.close()
    assert lag.longest_piece > TOO_LONG - ALERT_SECONDS
    [report] = reports(caplog)
    assert "compute" in report
    assert "Computing.run_once" in report
    assert caplog.records[-1].fields["cpu_ms"] > ALERT_SECONDS * 1000  # type: ignore[attr-defined]


async def test_a_consumer_that_keeps_the_loop_is_reported_by_name(
    lag: LoopLag, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery("task-events", group="audit", handler=ComputingHandler(), parking=None, publisher=None)  # type: ignore[arg-type]
    event = Event(new_id(), "task-created", "todo", ("task-events",), "ann", "t1", "task_id", 1, 0, {})
    await delivery.deliver([Message("task-events", 0, 0, b"ann", envelope(event, ""), (), 0)])
    await until(lambda: reports(caplog), "the consumer is reported")
    assert "ComputingHandler.apply" in reports(caplog)[0]


async def test_shorter_pieces_are_measured_and_not_reported(lag: LoopLag, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        compute(LONG)
        await asyncio.sleep(0.001)
    assert 0 < lag.longest_piece <= ALERT_SECONDS
    assert not reports(caplog)


async def test_what_the_machine_does_meanwhile_is_no_piece_but_a_blocking_call_is_reported(
    lag: LoopLag, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        time.sleep(BLOCKED_SECONDS + ALERT_SECONDS)  # noqa: ASYNC251 (it is the call that must not be)
        await until(lambda: reports(caplog), "the call is reported")
    assert lag.longest_piece < ALERT_SECONDS
    assert "test_what_the_machine_does_meanwhile" in reports(caplog)[0]


async def test_a_blocking_call_hides_no_piece_that_follows_it_at_once(
    lag: LoopLag, caplog: pytest.LogCaptureFixture
) -> None:
    time.sleep(BLOCKED_SECONDS + ALERT_SECONDS)  # noqa: ASYNC251 (it is the call that must not be)
    await until(lambda: reports(caplog), "the call is reported")
    await asyncio.sleep(0.05)  # another turn, from which the piece counts
    compute(TOO_LONG)
    await until(lambda: len(reports(caplog)) == 2, "the piece is reported")
    assert "compute" in reports(caplog)[1]


async def test_nothing_is_measured_after_the_end(caplog: pytest.LogCaptureFixture) -> None:
    lag = LoopLag()
    lag.start()
    await lag.close()
    await lag.close()
    compute(2 * ALERT_SECONDS)
    await asyncio.sleep(0)  # another turn of the loop
    assert not lag.longest_piece
    assert not reports(caplog)
