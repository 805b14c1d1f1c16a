"""Group commit: batches that come together are applied together, and each gets its own result."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest

from harness.waiting import until
from mesh.events.delivery import is_transient
from mesh.events.envelope import ConsumedEvent, Message, envelope, read
from mesh.events.group_commit import GroupCommit
from mesh.events.outbox import Event
from mesh.runtime.ids import new_id


def event(name: str) -> ConsumedEvent:
    made = Event(new_id(), "task-created", "todo", ("task-events",), "ann", name, "task_id", 1, 0, {})
    return read(Message("task-events", 0, 0, b"ann", envelope(made, ""), (), 0))


class Handler:
    """A handler that waits until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.may_go = asyncio.Event()
        self.poison: dict[str, Exception] = {}

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        self.calls.append([event.subject for event in events])
        await self.may_go.wait()
        for one in events:
            if one.subject in self.poison:
                raise self.poison[one.subject]


@pytest.fixture
def handler() -> Handler:
    return Handler()


async def begun(handler: Handler, *batches: Sequence[str]) -> list[asyncio.Task[None]]:
    """Starts the batches: the first is being applied, the others wait."""
    group = GroupCommit(handler)
    tasks = []
    for batch in batches:
        tasks.append(asyncio.create_task(group.apply([event(one) for one in batch])))
        await until(lambda: bool(handler.calls), "the first is at work")
    return tasks


async def test_batches_that_come_meanwhile_go_together_next(handler: Handler) -> None:
    tasks = await begun(handler, ["a"], ["b", "c"], ["d"])
    handler.may_go.set()
    await asyncio.gather(*tasks)
    assert handler.calls == [["a"], ["b", "c", "d"]]


async def test_only_a_poisoned_batch_fails_and_the_others_are_applied(handler: Handler) -> None:
    handler.poison["b"] = ValueError("poison")
    tasks = await begun(handler, ["a"], ["b"], ["c"])
    handler.may_go.set()
    assert [str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == ["None", "poison", "None"]
    assert handler.calls == [["a"], ["b", "c"], ["b"], ["c"]]


async def test_a_passing_failure_is_raised_to_every_batch(handler: Handler) -> None:
    handler.poison["b"] = psycopg.OperationalError("away")
    tasks = await begun(handler, ["a"], ["b"], ["c"])
    handler.may_go.set()
    assert [str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == ["None", "away", "away"]
    assert handler.calls == [["a"], ["b", "c"]]


async def test_a_batch_cancelled_while_waiting_is_left_out(handler: Handler) -> None:
    tasks = await begun(handler, ["a"], ["b"], ["c"])
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    handler.may_go.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert handler.calls == [["a"], ["c"]]


async def test_a_batch_cancelled_at_work_does_not_disturb_the_next(handler: Handler) -> None:
    tasks = await begun(handler, ["a"], ["b"])
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    handler.may_go.set()
    await tasks[1]
    assert handler.calls == [["a"], ["b"]]
    assert tasks[0].cancelled()


async def test_when_the_handler_is_cancelled_its_batches_come_again(handler: Handler) -> None:
    handler.poison["b"] = asyncio.CancelledError()  # type: ignore[assignment]
    tasks = await begun(handler, ["a"], ["b"], ["c"])
    handler.may_go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, Exception) and is_transient(one) for one in results] == [False, True, True]
