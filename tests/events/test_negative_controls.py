"""The checker catches what must be caught, and finds nothing wrong with what the runtime does instead."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.producer import Producer
from mesh.events.relay import Relay
from mesh.runtime.ids import new_id
from mesh.runtime.lifecycle import PeriodicTask
from tests.events.checker import Told, Verdict, check, told
from tests.events.fakes import TRACEPARENT, Source, Write, raw
from tests.events.negative_controls import CursorRelay, EarlyNumbers
from tests.support.waiting import until

WRITERS, THINGS, CHANGES = 12, 4, 25


async def race(source: Source, write: Write = outbox.write) -> None:
    """Twelve writers change four things of one user at the same time."""
    user, things = new_id(), [new_id() for _ in range(THINGS)]
    versions = dict.fromkeys(things, 0)

    async def writer(number: int) -> None:
        thing = things[number % THINGS]
        for _ in range(CHANGES):
            await change(thing)

    async def change(thing: str) -> None:
        while True:
            version = versions[thing] + 1
            try:
                await source.change(user, thing, version, write=write)
            except WriteConflict:
                await asyncio.sleep(0)
                continue
            versions[thing] = max(version, versions[thing])
            return

    await asyncio.gather(*map(writer, range(WRITERS)))


@pytest.fixture
async def relay(source: Source, producer: Producer) -> AsyncIterator[Relay]:
    relay = Relay(source.url, producer, service="source")
    yield relay
    await relay.close()


@pytest.fixture
async def cursor_relay(source: Source, producer: Producer) -> AsyncIterator[CursorRelay]:
    relay = CursorRelay(source.url, producer, service="source")
    yield relay
    await relay.close()


def verdict(source: Source, kafka: str) -> Verdict:
    return check(source.committed, map(told, raw(kafka, source.topics[0])))


async def test_numbers_drawn_after_the_lock_keep_the_order(source: Source, relay: Relay, kafka: str) -> None:
    relay.start()
    await race(source)
    await until(source.all_published, "the outbox is empty")
    assert verdict(source, kafka).holds


async def test_numbers_drawn_before_the_lock_are_caught(source: Source, relay: Relay, kafka: str) -> None:
    await race(source, EarlyNumbers().write)
    relay.start()
    await until(source.all_published, "the outbox is empty")
    found = verdict(source, kafka)
    assert found.out_of_order > WRITERS
    assert (found.missing, found.unknown) == (0, 0)


async def two_commits_out_of_order(source: Source, relay: PeriodicTask) -> None:
    """The event with the lower number commits last, and the relay looks between the two."""
    early, late = source.event(new_id(), new_id(), 1), source.event(new_id(), new_id(), 1)
    async with source.database.transaction() as slow:
        await outbox.append(slow, [early], TRACEPARENT)
        async with source.database.transaction() as quick:
            await outbox.append(quick, [late], TRACEPARENT)
        await relay.run_once()
    await relay.run_once()
    source.committed += [Told(event.id, event.subject, event.version) for event in (early, late)]


async def test_a_relay_finds_what_commits_late(source: Source, relay: Relay, kafka: str) -> None:
    await two_commits_out_of_order(source, relay)
    assert verdict(source, kafka).holds


async def test_a_relay_with_a_cursor_is_caught(source: Source, cursor_relay: CursorRelay, kafka: str) -> None:
    await two_commits_out_of_order(source, cursor_relay)
    assert verdict(source, kafka) == Verdict(missing=1, unknown=0, out_of_order=0)


def test_the_checker_counts_repeats_only_where_they_came_first() -> None:
    first, second = Told("1", "a", 1), Told("2", "a", 2)
    assert check([first, second], [first, second, first, second]).holds
    assert check([first, second], [second, first]) == Verdict(0, 0, 1)
    assert check([first], [first, second]) == Verdict(0, 1, 0)
    assert check([first, second], [second]) == Verdict(1, 0, 0)
