"""A descriptor that is waited for again and again is heard as with any event loop."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from mesh.runtime.event_loop import EventLoop


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    yield near, far
    near.close()
    far.close()


Pair = tuple[socket.socket, socket.socket]


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(5):
            await main()

    uvloop.run(within_time(), loop_factory=EventLoop)


async def readable(fd: int) -> None:
    """Waits as psycopg does: a reader for one event."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0.001)


def test_every_message_wakes_the_next_reader(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        for number in range(50):
            asyncio.get_running_loop().call_soon(far.send, b"%d" % number)
            await readable(near.fileno())
            assert near.recv(10) == b"%d" % number

    run(main)


def test_what_arrived_while_there_was_no_reader_is_heard(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        for _ in range(3):
            far.send(b"x")
            await turns()
            await readable(near.fileno())
            near.recv(1)

    run(main)


def test_what_nobody_read_is_reported_again(pair: Pair) -> None:
    async def main() -> None:
        pair[1].send(b"x")
        for _ in range(4):
            await readable(pair[0].fileno())

    run(main)


def test_a_reader_that_stays_is_called_until_nothing_is_left(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        far.send(b"x")
        await readable(near.fileno())
        read: list[bytes] = []
        asyncio.get_running_loop().add_reader(near.fileno(), lambda: read.append(near.recv(1)))
        far.send(b"yz")
        while len(read) < 3:
            await turns(1)
        await turns()
        assert read == [b"x", b"y", b"z"]
        far.send(b"!")
        while len(read) < 4:
            await turns(1)

    run(main)


def test_a_second_reader_replaces_the_first(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        far.send(b"x")
        await readable(near.fileno())
        called: list[str] = []
        loop = asyncio.get_running_loop()
        loop.add_reader(near.fileno(), called.append, "first")
        loop.add_reader(near.fileno(), called.append, "second")
        while not called:
            await turns(1)
        loop.remove_reader(near.fileno())
        assert set(called) == {"second"}

    run(main)


def test_a_reader_that_was_removed_is_not_called(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        far.send(b"x")
        await readable(near.fileno())
        called: list[None] = []
        loop = asyncio.get_running_loop()
        loop.add_reader(near.fileno(), called.append, None)
        loop.remove_reader(near.fileno())
        loop.remove_reader(near.fileno())
        await turns()
        assert not called
        await readable(near.fileno())

    run(main)


def test_a_peer_that_hangs_up_wakes_the_reader(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        far.send(b"x")
        await readable(near.fileno())
        near.recv(1)
        asyncio.get_running_loop().call_later(0.01, far.close)
        await readable(near.fileno())
        assert near.recv(1) == b""

    run(main)


def test_a_socket_is_heard_that_got_the_number_of_a_closed_one(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        number = near.fileno()
        for _ in range(2):
            far.send(b"x")
            await readable(number)
            near.recv(1)
        new_near, new_far = socket.socketpair()
        with new_near, new_far:
            os.dup2(new_near.fileno(), number)  # closes the old one
            new_far.send(b"new")
            await readable(number)
            assert os.read(number, 10) == b"new"

    run(main)


def test_an_error_of_a_reader_is_reported_and_disturbs_no_other(pair: Pair) -> None:
    async def main() -> None:
        other_near, other_far = socket.socketpair()
        reported: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        with other_near, other_far:
            for near, far in (pair, (other_near, other_far)):
                far.send(b"x")
                await readable(near.fileno())
            loop.add_reader(pair[0].fileno(), lambda: 1 / 0)
            await readable(other_near.fileno())
            while not reported:
                await turns(1)
            loop.remove_reader(pair[0].fileno())
        assert isinstance(reported[0]["exception"], ZeroDivisionError)

    run(main)


def test_a_descriptor_that_is_closed_with_its_reader_disturbs_no_other(pair: Pair) -> None:
    async def main() -> None:
        closed_near, closed_far = socket.socketpair()
        loop, read = asyncio.get_running_loop(), list[bytes]()
        with closed_near, closed_far:
            for near, far in ((closed_near, closed_far), pair):
                far.send(b"x")
                await readable(near.fileno())
            loop.add_reader(closed_near.fileno(), closed_near.close)
            loop.add_reader(pair[0].fileno(), lambda: read.append(pair[0].recv(1)))
            while not read:
                await turns(1)
            for _ in range(3):
                pair[1].send(b"y")
                await turns()
        assert read == [b"x", b"y", b"y", b"y"]
        loop.remove_reader(pair[0].fileno())

    run(main)
