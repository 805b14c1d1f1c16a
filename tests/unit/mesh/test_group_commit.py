"""Group commit: batches that come together have their effect together, and each hears of its own."""

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


class Effects:
    """An effect that waits until it is let go."""

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
def effects() -> Effects:
    return Effects()


async def begun(effects: Effects, *batches: Sequence[str]) -> list[asyncio.Task[None]]:
    """The batches on their way: the first is at work, the others wait."""
    group = GroupCommit(effects)
    tasks = []
    for batch in batches:
        tasks.append(asyncio.create_task(group.apply([event(one) for one in batch])))
        await until(lambda: bool(effects.calls), "the first is at work")
    return tasks


async def test_who_comes_meanwhile_goes_together_with_the_next(effects: Effects) -> None:
    tasks = await begun(effects, ["a"], ["b", "c"], ["d"])
    effects.may_go.set()
    await asyncio.gather(*tasks)
    assert effects.calls == [["a"], ["b", "c", "d"]]


async def test_a_poisoned_batch_is_told_alone_and_the_others_have_their_effect(effects: Effects) -> None:
    effects.poison["b"] = ValueError("poison")
    tasks = await begun(effects, ["a"], ["b"], ["c"])
    effects.may_go.set()
    assert [str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == ["None", "poison", "None"]
    assert effects.calls == [["a"], ["b", "c"], ["b"], ["c"]]


async def test_what_may_pass_is_told_to_all_who_were_there(effects: Effects) -> None:
    effects.poison["b"] = psycopg.OperationalError("away")
    tasks = await begun(effects, ["a"], ["b"], ["c"])
    effects.may_go.set()
    assert [str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == ["None", "away", "away"]
    assert effects.calls == [["a"], ["b", "c"]]


async def test_who_was_cancelled_while_waiting_is_left_out(effects: Effects) -> None:
    tasks = await begun(effects, ["a"], ["b"], ["c"])
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    effects.may_go.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert effects.calls == [["a"], ["c"]]


async def test_who_is_cancelled_at_work_does_not_disturb_the_next(effects: Effects) -> None:
    tasks = await begun(effects, ["a"], ["b"])
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    effects.may_go.set()
    await tasks[1]
    assert effects.calls == [["a"], ["b"]]
    assert tasks[0].cancelled()


async def test_when_the_effect_is_cancelled_its_batches_come_again(effects: Effects) -> None:
    effects.poison["b"] = asyncio.CancelledError()  # type: ignore[assignment]
    tasks = await begun(effects, ["a"], ["b"], ["c"])
    effects.may_go.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, Exception) and is_transient(one) for one in told] == [False, True, True]
