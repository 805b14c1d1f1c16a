"""Dead letters: what a service cannot apply is kept, seen, and applied in order once the cause is repaired."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest

from harness.waiting import until
from mesh.events import delivery, dlq
from mesh.events.consumer import Consumer
from mesh.events.dead_letters import topic_of
from mesh.events.envelope import ConsumedEvent, envelope
from mesh.events.inbox import Inbox, TopicSubscription
from mesh.events.outbox import Event
from mesh.events.producer import Producer, ProducerRecord
from mesh.runtime.ids import new_id
from stack.infrastructure.kafka import admin, make_topics
from tests.events.fakes import TRACEPARENT, Applied, Source, raw


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "backoff", lambda *_, **__: 0.01)


class ConsumingService(NamedTuple):
    """A consuming service and the topic it reads."""

    source: Source
    target: Applied
    producer: Producer
    consumer: Consumer
    kafka: str
    topic: str
    letters: str
    """The dead-letter topic."""

    async def publish(self, *events: Event) -> None:
        for event in events:
            await self.publish_raw(event.user_id, envelope(event, TRACEPARENT))

    async def publish_raw(self, key: str, value: bytes) -> None:
        assert await self.producer.publish([ProducerRecord(self.topic, key, value, [("x", "y")])]) == [None]

    async def applied(self, *events: Event) -> None:
        """Waits until these are what was applied, in this order."""
        await until(self.target.has(len(events)), "the events are applied")
        assert [event.id for event in await self.target.events()] == [event.id for event in events]

    async def letters_are(self, count: int) -> None:
        async def enough() -> bool:
            return len(await asyncio.to_thread(raw, self.kafka, self.letters)) == count

        await until(enough, f"{count} records in the dead-letter topic")

    async def dlq(self, *arguments: str) -> tuple[int, str]:
        """Runs the command; its exit status and what it printed."""
        said: list[str] = []
        status = await asyncio.to_thread(dlq.main, ["--bootstrap", self.kafka, *arguments], said.append)
        return status, "".join(said)


@pytest.fixture
async def service(
    source: Source, target: Applied, producer: Producer, kafka: str, topic: str, group: str
) -> AsyncIterator[ConsumingService]:
    inbox = Inbox(
        target.database, [TopicSubscription(topic, {"item-changed": target.on_item_changed}, drop_stale=False)]
    )
    consumer = Consumer(kafka, group=group, topics=[topic], handler=inbox, parking=inbox)
    consumer.start()
    yield ConsumingService(source, target, producer, consumer, kafka, topic, topic_of(topic, group))
    await consumer.close()


def versions(source: Source, count: int) -> list[Event]:
    user, item = new_id(), new_id()
    return [source.event(user, item, version) for version in range(1, count + 1)]


async def test_a_poisoned_key_waits_in_order_and_others_go_on(service: ConsumingService) -> None:
    ann, bob = versions(service.source, 4), versions(service.source, 4)
    service.target.poison.add(ann[1].id)
    await service.publish(*ann[:2], bob[0], *ann[2:], *bob[1:])
    await until(service.target.has(5), "Bob's events and Ann's first are applied")
    await service.letters_are(3)
    assert {event.subject for event in await service.target.events()} == {ann[0].subject, bob[0].subject}
    letters = raw(service.kafka, service.letters)
    assert [letter.value for letter in letters] == [envelope(event, TRACEPARENT) for event in ann[1:]]
    assert {letter.key for letter in letters} == {ann[0].user_id.encode()}
    first = letters[0]
    assert (first.header("x"), first.header("dlq-topic")) == ("y", service.topic)
    assert str(first.header("dlq-reason")).startswith("ValueError")
    assert "follows" in str(letters[1].header("dlq-reason"))
    assert first.header("dlq-offset") is not None
    assert first.header("dlq-partition") is not None
    assert first.header("dlq-time") is not None
    assert await service.target.parked() == {ann[0].user_id}


async def test_an_operator_lists_shows_and_replays(service: ConsumingService) -> None:
    ann = versions(service.source, 5)
    service.target.poison.add(ann[1].id)
    await service.publish(*ann[:4])
    await service.letters_are(3)

    status, listed = await service.dlq("list", service.letters)
    assert (status, listed.count("\n")) == (0, 1)
    assert f"key {ann[0].user_id}  3 waiting" in listed
    assert "is poison" in listed
    status, shown = await service.dlq("show", service.letters)
    assert status == 0
    assert all(event.id in shown for event in ann[1:4])

    service.target.poison.clear()
    status, said = await service.dlq("replay", service.letters, "--key", ann[0].user_id)
    assert (status, said) == (0, f"key {ann[0].user_id}: replayed.\n")
    await service.applied(*ann[:4])
    assert await service.target.parked() == set()

    await service.publish(ann[4])
    await service.applied(*ann)
    assert await service.dlq("list", service.letters) == (0, "No dead letters wait.\n")


async def test_a_replay_that_fails_again_changes_nothing_and_says_why(service: ConsumingService) -> None:
    ann = versions(service.source, 3)
    service.target.poison.add(ann[1].id)
    await service.publish(*ann)
    await service.letters_are(2)
    status, said = await service.dlq("replay", service.letters, "--all")
    assert status == 1
    assert f"key {ann[0].user_id}: still refused, nothing changed. ValueError: {ann[1].id} is poison" in said
    assert [event.id for event in await service.target.events()] == [ann[0].id]
    assert await service.target.parked() == {ann[0].user_id}
    assert "2 waiting" in (await service.dlq("list", service.letters))[1]


async def test_a_letter_that_cannot_be_repaired_is_skipped_for_good(service: ConsumingService) -> None:
    ann = versions(service.source, 3)
    await service.publish(ann[0])
    await service.publish_raw(ann[0].user_id, b"\xff not an envelope")
    await service.publish(*ann[1:])
    await service.letters_are(3)
    _, shown = await service.dlq("show", service.letters)
    assert "not an event envelope" in shown
    broken = raw(service.kafka, service.letters)[0].offset
    status, _ = await service.dlq("replay", service.letters, "--key", ann[0].user_id, "--skip", str(broken))
    assert status == 0
    await service.applied(*ann)
    assert await service.dlq("list", service.letters) == (0, "No dead letters wait.\n")


async def test_replaying_twice_applies_once(service: ConsumingService) -> None:
    ann = versions(service.source, 3)
    service.target.poison.add(ann[0].id)
    await service.publish(*ann)
    await service.letters_are(3)
    service.target.poison.clear()
    responses = await asyncio.gather(
        service.dlq("replay", service.letters, "--all"), service.dlq("replay", service.letters, "--all")
    )
    assert [status for status, _ in responses] == [0, 0]
    await service.applied(*ann)


async def test_a_key_keeps_its_order_while_it_is_replayed(service: ConsumingService) -> None:
    ann = versions(service.source, 60)
    service.target.poison.add(ann[1].id)
    await service.publish(*ann[:10])
    await service.letters_are(9)
    service.target.poison.clear()

    async def keep_publishing() -> None:
        for event in ann[10:]:
            await service.publish(event)

    publishing = asyncio.create_task(keep_publishing())
    status, _ = await service.dlq("replay", service.letters, "--all")
    await publishing
    assert status == 0
    await service.applied(*ann)


async def test_only_the_group_of_the_letters_receives_a_replay(service: ConsumingService, source: Source) -> None:
    received: list[str] = []

    class Neighbour:
        async def apply(self, events: Sequence[ConsumedEvent]) -> None:
            received.extend(event.id for event in events)

    group = f"neighbour-{new_id()}"
    make_topics(admin({"bootstrap.servers": service.kafka}), {topic_of(service.topic, group): 1})
    async with AsyncExitStack() as closing:
        neighbour = Consumer(
            service.kafka,
            group=group,
            topics=[service.topic],
            handler=Neighbour(),
        )
        closing.push_async_callback(neighbour.close)
        neighbour.start()
        ann = versions(source, 3)
        service.target.poison.add(ann[0].id)
        await service.publish(*ann)
        await service.letters_are(3)
        service.target.poison.clear()
        await service.dlq("replay", service.letters, "--all")
        await service.applied(*ann)
        last = versions(source, 1)
        await service.publish(*last)
        await until(lambda: last[0].id in received, "the neighbour receives the last event")
    assert received == [event.id for event in [*ann, *last]]
    assert len(raw(service.kafka, service.topic)) == 4


async def test_a_parked_key_stays_parked_when_its_consumer_starts_again(
    service: ConsumingService, producer: Producer, group: str
) -> None:
    ann = versions(service.source, 3)
    service.target.poison.add(ann[0].id)
    await service.publish(*ann[:1])
    await service.letters_are(1)
    await service.consumer.close()
    service.target.poison.clear()
    await service.publish(*ann[1:])
    service.consumer.start()
    await service.letters_are(3)
    assert await service.target.events() == []
    status, _ = await service.dlq("replay", service.letters, "--all")
    assert status == 0
    await service.applied(*ann)


async def test_an_operator_sees_that_nothing_waits_or_that_no_consumer_runs(service: ConsumingService) -> None:
    assert await service.dlq("replay", service.letters, "--all") == (0, "No dead letters wait.\n")
    assert await service.dlq("show", service.letters) == (0, "No dead letters wait.\n")
    with pytest.raises(SystemExit, match="Unknown topic"):
        await service.dlq("show", "no-such-topic.dlq")
    ann = versions(service.source, 1)
    service.target.poison.add(ann[0].id)
    await service.publish(*ann)
    await service.letters_are(1)
    await service.consumer.close()
    status, said = await service.dlq("replay", service.letters, "--all", "--wait", "0.5")
    assert (status, "Does the consumer run?" in said) == (1, True)


async def test_without_a_dead_letter_topic_nothing_is_consumed_until_it_is_made(
    source: Source, target: Applied, producer: Producer, kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = f"items-{new_id()}", f"group-{new_id()}"
    make_topics(broker := admin({"bootstrap.servers": kafka}), {topic: 1})
    event = source.event(new_id(), new_id(), 1)
    inbox = Inbox(target.database, [TopicSubscription(topic, {"item-changed": target.on_item_changed})])
    consumer = Consumer(kafka, group=group, topics=[topic], handler=inbox, parking=inbox)
    assert await producer.publish([ProducerRecord(topic, event.user_id, envelope(event, TRACEPARENT), [])]) == [None]
    consumer.start()
    try:
        await until(lambda: not consumer.ready, "the missing topic is noticed")
        assert f"there is no topic {topic_of(topic, group)}" in caplog.text
        assert not await target.events()
        make_topics(broker, {topic_of(topic, group): 1})
        await until(lambda: consumer.ready, "the topic is noticed")
        await until(target.has(1), "the event is applied")
    finally:
        await consumer.close()
