"""Slices: long computations that leave the event loop to others in between."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from mesh.runtime import slices
from mesh.runtime.slices import in_slices


def costly(count: int, seconds: float = 0.001) -> Iterator[int]:
    for number in range(count):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        yield number


async def test_the_items_come_in_their_order() -> None:
    assert await in_slices(costly(20)) == list(range(20))
    assert await in_slices([]) == []


async def test_an_error_of_an_item_is_raised_and_the_next_computation_has_its_turn() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_slices(1 // number for number in (1, 0))
    assert await in_slices([1]) == [1]


async def test_a_cancelled_computation_leaves_its_turn_to_the_others() -> None:
    one = asyncio.create_task(in_slices(costly(1000)))
    other = asyncio.create_task(in_slices(costly(5)))
    await asyncio.sleep(0)
    one.cancel()
    assert await other == list(range(5))
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_between_two_turns_of_another_task_there_is_one_slice_however_many_computations_run() -> None:
    computations = [asyncio.create_task(in_slices(costly(length))) for length in range(1, 20)]
    pieces: list[float] = []
    while not all(computation.done() for computation in computations):
        before = time.thread_time()
        await asyncio.sleep(0)
        pieces.append(time.thread_time() - before)
    assert max(pieces) < 0.01
    assert len(pieces) >= sum(range(1, 20)) * 0.001 / (slices._SLICE_SECONDS + 0.001)


async def test_a_short_computation_does_not_wait() -> None:
    await asyncio.sleep(0)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    assert await in_slices(range(100)) == list(range(100))
    assert turns == 0
    counting.cancel()


async def test_computations_advance_side_by_side() -> None:
    ended: list[str] = []

    async def run(name: str, count: int) -> None:
        await in_slices(costly(count))
        ended.append(name)

    await asyncio.gather(run("long", 100), run("short", 10))
    assert ended == ["short", "long"]
