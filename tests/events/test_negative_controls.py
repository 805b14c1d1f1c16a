"""The checker catches what must be caught, and finds nothing wrong with what the runtime does instead."""

from collections.abc import AsyncIterator

import pytest

from harness.waiting import until
from mesh.events.producer import Producer
from mesh.events.relay import Relay
from tests.events.checker import EventRef, Verdict, check, event_of
from tests.events.fakes import Source, raw
from tests.events.negative_controls import CursorRelay, EarlyNumbers
from tests.events.scenarios import WRITERS, race, two_commits_out_of_order


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
    return check(source.committed, map(event_of, raw(kafka, source.topics[0])))


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


async def test_a_relay_finds_what_commits_late(source: Source, relay: Relay, kafka: str) -> None:
    await two_commits_out_of_order(source, relay)
    assert verdict(source, kafka).holds


async def test_a_relay_with_a_cursor_is_caught(source: Source, cursor_relay: CursorRelay, kafka: str) -> None:
    await two_commits_out_of_order(source, cursor_relay)
    assert verdict(source, kafka) == Verdict(missing=1, unknown=0, out_of_order=0)


def test_the_checker_counts_repeats_only_where_they_came_first() -> None:
    first, second = EventRef("1", "a", 1), EventRef("2", "a", 2)
    assert check([first, second], [first, second, first, second]).holds
    assert check([first, second], [second, first]) == Verdict(0, 0, 1)
    assert check([first], [first, second]) == Verdict(0, 1, 0)
    assert check([first, second], [second]) == Verdict(1, 0, 0)
