"""The queue of one connection."""

import asyncio

import pytest

from mesh.runtime.errors import TokenInvalid
from services.realtime.cache.feeds import Listener
from services.realtime.errors import SlowConsumer
from services.realtime.model import Entry, Gap, Position


def an_entry(number: int) -> Entry:
    return Entry(Position(1, number), b"")


async def test_entries_leave_in_the_order_they_came() -> None:
    listener = Listener(4, patience=9)
    for number in range(3):
        listener.offer(an_entry(number))
    assert [await listener.next(1) for _ in range(3)] == [an_entry(number) for number in range(3)]


async def test_a_waiting_connection_gets_an_entry_at_once() -> None:
    listener = Listener(4, patience=9)
    waiting = asyncio.create_task(listener.next(30))
    await asyncio.sleep(0)
    listener.offer(Gap(Position(1, 1)))
    assert await waiting == Gap(Position(1, 1))


async def test_nothing_in_time_is_nothing() -> None:
    assert await Listener(4, patience=9).next(0.001) is None


async def test_one_entry_too_many_leaves_all_to_be_read_again() -> None:
    listener = Listener(2, patience=9)
    for number in range(3):
        listener.offer(an_entry(number))
    assert listener.behind
    assert await listener.next(30) is None
    listener.resume()
    listener.offer(an_entry(7))
    assert await listener.next(30) == an_entry(7)


async def test_a_connection_that_is_behind_and_takes_nothing_is_cut() -> None:
    listener = Listener(1, patience=0)
    with listener.sending():
        listener.require_pace()
        assert not listener.end.done(), "nothing waits for it"
        listener.fall_behind()
        listener.require_pace()
    assert isinstance(listener.end.result(), SlowConsumer)
    with pytest.raises(SlowConsumer):
        await listener.next(30)


async def test_so_is_one_whose_queue_is_not_full() -> None:
    listener = Listener(4, patience=0)
    with listener.sending():
        listener.offer(an_entry(1))
        listener.require_pace()
    assert isinstance(listener.end.result(), SlowConsumer)


async def test_so_is_one_that_reads_the_stream_and_holds_more_frames() -> None:
    listener = Listener(1, patience=0)
    with listener.sending(more=True):
        listener.require_pace()
    assert isinstance(listener.end.result(), SlowConsumer)


async def test_a_connection_that_is_behind_and_takes_its_frames_is_not_cut() -> None:
    listener = Listener(1, patience=0)
    listener.fall_behind()
    with listener.sending():
        pass
    listener.require_pace()
    assert not listener.end.done()


async def test_the_end_comes_before_what_still_waits_and_comes_once() -> None:
    listener = Listener(4, patience=9)
    listener.offer(an_entry(1))
    listener.finish(TokenInvalid())
    listener.finish(SlowConsumer())
    listener.offer(an_entry(2))
    with pytest.raises(TokenInvalid):
        await listener.next(30)


async def test_the_end_reaches_a_connection_that_waits() -> None:
    listener = Listener(4, patience=9)
    waiting = asyncio.create_task(listener.next(30))
    await asyncio.sleep(0)
    listener.finish(TokenInvalid())
    with pytest.raises(TokenInvalid):
        await waiting


async def test_an_entry_that_comes_as_the_time_is_up_is_not_lost() -> None:
    listener = Listener(4, patience=9)
    waiting = asyncio.create_task(listener.next(0))
    await asyncio.sleep(0)
    listener.offer(an_entry(1))
    assert await waiting == an_entry(1)
