"""Work in a process of its own."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from mesh.runtime.errors import Overloaded
from mesh.runtime.worker import Worker, WorkFailedError, _send


def letters(content: bytes) -> Iterator[bytes]:
    """One piece for each byte."""
    for byte in content:
        yield bytes([byte])


def fails(content: bytes) -> Iterator[bytes]:
    """Raises after a piece."""
    yield content
    raise ValueError("not this")


def never_ends(_content: bytes) -> Iterator[bytes]:
    """Says nothing for ever."""
    while True:
        pass
    yield b""


def takes_memory(content: bytes) -> Iterator[bytes]:
    """Takes all that there is."""
    yield content * (1 << 40)


def says_much(_content: bytes) -> Iterator[bytes]:
    """A result without an end."""
    while True:
        yield b"x" * 65536


def worker(work: str, *, seconds: float = 20.0, queue: int = 4) -> Worker:
    return Worker(
        f"tests.contract.mesh.test_worker:{work}",
        seconds=seconds,
        memory_bytes=1 << 30,
        result_bytes=1 << 20,
        queue=queue,
    )


async def test_pieces_come_back_in_order_from_one_process() -> None:
    made = worker("letters")
    assert await made.run(b"abc") == [b"a", b"b", b"c"]
    first = made._process
    assert await made.run(b"") == []
    assert await asyncio.gather(*(made.run(bytes([97 + number])) for number in range(4))) == [
        [b"a"],
        [b"b"],
        [b"c"],
        [b"d"],
    ]
    assert made._process is first
    await made.close()


async def test_what_is_raised_is_told_and_the_process_goes_on() -> None:
    made = worker("fails")
    for _ in range(2):
        with pytest.raises(WorkFailedError, match="ValueError: not this"):
            await made.run(b"x")
    await made.close()


@pytest.mark.parametrize(
    ("work", "problem"),
    [("never_ends", "took longer than 3 s"), ("takes_memory", "ended|Error"), ("says_much", "more than 1048576 bytes")],
)
async def test_work_without_bounds_is_ended_with_its_process(work: str, problem: str) -> None:
    made = worker(work, seconds=3.0)
    with pytest.raises(WorkFailedError, match=problem):
        await made.run(b"xyz")
    with pytest.raises(WorkFailedError, match=problem):
        await made.run(b"xyz")
    await made.close()


async def test_a_process_whose_parent_is_gone_ends_in_the_time_of_its_work() -> None:
    process = await worker("never_ends", seconds=0.1)._start()
    await _send(process, b"xyz")
    async with asyncio.timeout(20.0):
        assert await process.wait() == -signal.SIGALRM


async def test_the_queue_is_bounded() -> None:
    made = worker("letters", queue=1)
    results = await asyncio.gather(*(made.run(b"x") for _ in range(4)), return_exceptions=True)
    assert [type(result) for result in results] == [list, list, Overloaded, Overloaded]
    await made.close()
