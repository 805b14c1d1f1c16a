"""The checker of `make prove` catches the two mistakes of negative_controls.py, reading the topic as it does there."""

from collections.abc import AsyncIterator, Callable

import pytest

from harness.waiting import until
from mesh.events.producer import Producer
from mesh.events.relay import Relay
from prove import checker
from prove.checker import Message, Task
from prove.history import Broker
from tests.events.fakes import Source
from tests.events.negative_controls import CursorRelay, EarlyNumbers
from tests.events.scenarios import race, two_commits_out_of_order


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


@pytest.fixture
def published(source: Source, kafka: str) -> Callable[[], list[Message]]:
    """What the topic holds of all users, from its beginning."""
    return lambda: _read(kafka, source.topics[0])


def _read(kafka: str, topic: str) -> list[Message]:
    broker = Broker({"bootstrap.servers": kafka})
    try:
        return broker.read(dict.fromkeys(broker.ends([topic]), 0), None)
    finally:
        broker.close()


def committed(source: Source) -> list[Task]:
    """The items of the source at their last versions."""
    versions: dict[str, int] = {}
    for event in source.committed:
        versions[event.subject] = max(event.version, versions.get(event.subject, 0))
    return [Task(subject, "", "", version) for subject, version in versions.items()]


async def test_it_has_nothing_against_the_outbox_and_its_relay(
    source: Source, relay: Relay, published: Callable[[], list[Message]]
) -> None:
    relay.start()
    await race(source)
    await until(source.all_published, "the outbox is empty")
    assert checker.disorder(published()) == []
    assert checker.unpublished(committed(source), published(), source.topics) == []


async def test_it_catches_numbers_drawn_before_the_lock(
    source: Source, relay: Relay, published: Callable[[], list[Message]]
) -> None:
    await race(source, EarlyNumbers().write)
    relay.start()
    await until(source.all_published, "the outbox is empty")
    assert len(checker.disorder(published())) == len(committed(source))
    assert checker.unpublished(committed(source), published(), source.topics) == []


async def test_it_catches_a_relay_with_a_cursor(
    source: Source, cursor_relay: CursorRelay, published: Callable[[], list[Message]]
) -> None:
    await two_commits_out_of_order(source, cursor_relay)
    assert len(checker.unpublished(committed(source), published(), source.topics)) == 1
    assert checker.disorder(published()) == []
