"""The consumer: every event has its effect exactly once, whatever is repeated, killed or taken away."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import confluent_kafka
import psycopg
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from harness.waiting import until
from mesh.database.connection import Connection
from mesh.events import consumer as consumer_module
from mesh.events import delivery
from mesh.events import partition as partition_module
from mesh.events.consumer import Consumer
from mesh.events.delivery import EventHandler
from mesh.events.envelope import ConsumedEvent, envelope
from mesh.events.inbox import Inbox, TopicSubscription
from mesh.events.outbox import Event
from mesh.events.producer import Producer, ProducerRecord
from mesh.events.relay import Relay
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.ids import new_id
from stack.infrastructure.kafka import admin
from tests.events.checker import EventRef, check
from tests.events.fakes import TRACEPARENT, Applied, Source

NewConsumer = Callable[..., Consumer]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def new_consumer(kafka: str, topic: str, group: str) -> AsyncIterator[NewConsumer]:
    """Makes consumers of the group; they are closed at the end."""
    async with AsyncExitStack() as closing:

        def make(handler: EventHandler) -> Consumer:
            parking = handler if isinstance(handler, Inbox) else None
            consumer = Consumer(kafka, group=group, topics=[topic], handler=handler, parking=parking)
            closing.push_async_callback(consumer.close)
            return consumer

        yield make


@pytest.fixture
async def relay(source: Source, producer: Producer) -> AsyncIterator[Relay]:
    """The source's relay, running."""
    relay = Relay(source.url, producer, service="source")
    relay.start()
    yield relay
    await relay.close()


def inbox(target: Applied, topic: str, *, drop_stale: bool = True) -> Inbox:
    subscription = TopicSubscription(topic, {"item-changed": target.on_item_changed}, drop_stale=drop_stale)
    return Inbox(target.database, [subscription])


async def publish(producer: Producer, *events: Event) -> None:
    """Publishes around the outbox, so that a test can repeat and disorder."""
    for event in events:
        message = ProducerRecord(event.topics[0], event.user_id, envelope(event, TRACEPARENT), [])
        assert await producer.publish([message]) == [None]


async def test_what_committed_at_the_source_is_applied_in_order(
    source: Source, relay: Relay, target: Applied, topic: str, new_consumer: NewConsumer
) -> None:
    new_consumer(inbox(target, topic)).start()
    await asyncio.gather(*(source.changes(new_id(), 30) for _ in range(10)))
    await until(target.has(300), "every event has its effect")
    events = await target.events()
    assert (check(source.committed, events).holds, len(events)) == (True, 300)


async def test_a_repeated_event_is_applied_once(
    source: Source, target: Applied, topic: str, producer: Producer, new_consumer: NewConsumer
) -> None:
    user, item = new_id(), new_id()
    first, second = source.event(user, item, 1), source.event(user, item, 2)
    await publish(producer, first, second, first, second, second)
    last = source.event(user, item, 3)
    await publish(producer, last)
    new_consumer(inbox(target, topic)).start()
    await until(target.has(3), "the last event has its effect")
    assert [event.id for event in await target.events()] == [first.id, second.id, last.id]


@pytest.mark.parametrize("drop_stale", [True, False])
async def test_an_older_version_is_dropped_unless_every_event_counts(
    source: Source, target: Applied, topic: str, producer: Producer, new_consumer: NewConsumer, drop_stale: bool
) -> None:
    user, item = new_id(), new_id()
    await publish(producer, *(source.event(user, item, version) for version in (1, 3, 2, 4)))
    new_consumer(inbox(target, topic, drop_stale=drop_stale)).start()
    await until(target.has(3 if drop_stale else 4), "the newest version is applied")
    assert [event.version for event in await target.events()] == ([1, 3, 4] if drop_stale else [1, 3, 2, 4])


@pytest.mark.parametrize("raised", [True, False])
async def test_events_of_a_restored_database_are_applied_once_its_epoch_is_raised(
    source: Source, relay: Relay, target: Applied, topic: str, new_consumer: NewConsumer, raised: bool
) -> None:
    user, item = new_id(), new_id()
    new_consumer(inbox(target, topic)).start()
    for version in (1, 2, 3):
        await source.change(user, item, version)
    await until(target.has(3), "everything is applied")
    async with source.database.connection() as connection:  # as a backup has it that was made after version 1
        await connection.execute("UPDATE items SET version = 1")
        if raised:
            await connection.execute("UPDATE database_epoch SET epoch = epoch + 1")
    await source.change(user, item, 2)
    last = await source.change(user, new_id(), 1)
    await until(target.has(5 if raised else 4), "the last event is applied")
    events = await target.events()
    assert events[-1].id == last.id
    assert [event.version for event in events if event.subject == item] == ([1, 2, 3, 2] if raised else [1, 2, 3])


async def test_types_without_a_handler_are_skipped(
    source: Source, target: Applied, topic: str, producer: Producer, new_consumer: NewConsumer
) -> None:
    user = new_id()
    foreign = source.event(user, new_id(), 1)._replace(type="item-admired")
    known = source.event(user, new_id(), 1)
    await publish(producer, foreign, known)
    new_consumer(inbox(target, topic)).start()
    await until(target.has(1), "the known one is applied")
    assert [event.id for event in await target.events()] == [known.id]


async def test_a_batch_handler_gets_new_events_only_and_in_order(
    source: Source, target: Applied, topic: str, producer: Producer, new_consumer: NewConsumer
) -> None:
    got: list[list[int]] = []

    async def on_items(tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        got.append([event.version for event in events])
        for event in events:
            await target.on_item_changed(tx, event)

    user, item = new_id(), new_id()
    events = [source.event(user, item, version) for version in range(1, 30)]
    await publish(producer, *events, events[3], events[-1])
    new_consumer(Inbox(target.database, [TopicSubscription(topic, batch=on_items, drop_stale=False)])).start()
    await until(target.has(29), "all are applied")
    assert [version for versions in got for version in versions] == list(range(1, 30))


async def test_the_trace_of_the_call_reaches_the_handler(
    source: Source, target: Applied, topic: str, producer: Producer, new_consumer: NewConsumer
) -> None:
    await publish(producer, source.event(new_id(), new_id(), 1))
    new_consumer(inbox(target, topic)).start()
    await until(target.has(1), "it is applied")
    async with target.database.connection() as connection:
        row = await (await connection.execute("SELECT traceparent FROM applied")).fetchone()
    assert row == (TRACEPARENT,)


async def test_a_handler_that_rolls_back_takes_effect_once_when_it_succeeds(
    source: Source, target: Applied, topic: str, producer: Producer, new_consumer: NewConsumer
) -> None:
    failures = iter([psycopg.errors.SerializationFailure("raced"), psycopg.errors.DeadlockDetected("raced")])

    async def unlucky(tx: Connection, event: ConsumedEvent) -> None:
        await target.on_item_changed(tx, event)
        if (failure := next(failures, None)) is not None:
            raise failure

    await publish(producer, *(source.event(new_id(), new_id(), 1) for _ in range(5)))
    new_consumer(Inbox(target.database, [TopicSubscription(topic, {"item-changed": unlucky})])).start()
    await until(target.has(5), "all are applied")
    assert len(await target.events()) == 5


async def test_sessions_of_the_database_may_end_at_any_time(
    source: Source,
    relay: Relay,
    target: Applied,
    target_url: str,
    topic: str,
    events_database: str,
    new_consumer: NewConsumer,
) -> None:
    new_consumer(inbox(target, topic)).start()
    writing = asyncio.gather(*(source.changes(new_id(), 40) for _ in range(10)))
    role = psycopg.conninfo.conninfo_to_dict(target_url)["user"]
    for enough in (50, 150):
        await until(has_once_available(target, enough), "it goes on")
        await end_sessions(events_database, str(role))
    await writing
    await until(has_once_available(target, 400), "every event has its effect")
    events = await target.events()
    assert (check(source.committed, events).holds, len(events)) == (True, 400)


def has_once_available(target: Applied, count: int) -> Callable[[], Awaitable[bool]]:
    async def enough() -> bool:
        try:
            return await target.has(count)()
        except (psycopg.OperationalError, DependencyUnavailable):
            return False

    return enough


async def end_sessions(administrator_url: str, role: str) -> None:
    async with await psycopg.AsyncConnection.connect(administrator_url, autocommit=True) as connection:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))


async def test_consumers_may_come_and_go(
    source: Source, relay: Relay, target: Applied, topic: str, new_consumer: NewConsumer
) -> None:
    handler = inbox(target, topic)
    consumers = [new_consumer(handler)]
    consumers[0].start()
    writing = asyncio.gather(*(source.changes(new_id(), 60) for _ in range(12)))
    await until(target.has(60), "the first consumer works")
    consumers.append(new_consumer(handler))
    consumers[1].start()
    await until(target.has(250), "two consumers work")
    await consumers[0].close()
    await writing
    await until(target.has(720), "the second consumer goes on alone")
    events = await target.events()
    assert (check(source.committed, events).holds, len(events)) == (True, 720)


async def test_a_partition_that_waited_goes_on_when_it_comes_back(
    source: Source, topic: str, producer: Producer, new_consumer: NewConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its handler fails it is paused, and librdkafka keeps the pause when the partition is revoked."""

    class Away:
        """A handler whose dependency can be away."""

        def __init__(self) -> None:
            self.away = True
            self.tries = 0
            self.had: set[str] = set()

        async def apply(self, events: Sequence[ConsumedEvent]) -> None:
            self.tries += 1
            if self.away:
                raise DependencyUnavailable("whatever it needs")
            self.had |= {event.id for event in events}

    monkeypatch.setattr(delivery, "backoff", lambda *_, **__: 0.3)
    events = [source.event(new_id(), new_id(), 1) for _ in range(30)]
    await publish(producer, *events)
    staying, passing = Away(), Away()
    new_consumer(staying).start()
    await until(lambda: staying.tries > 12, "its partitions wait")
    guest = new_consumer(passing)
    guest.start()
    await until(lambda: passing.tries > 0, "a second consumer has some of them")
    await guest.close()
    staying.away = False
    await until(lambda: len(staying.had) == 30, "every event has its effect")


async def test_a_consumer_that_joins_again_goes_on_where_the_group_stopped(
    source: Source, target: Applied, topic: str, producer: Producer, new_consumer: NewConsumer
) -> None:
    seen: list[str] = []

    class Watched(Inbox):
        async def apply(self, events: Sequence[ConsumedEvent]) -> None:
            seen.extend(event.id for event in events)
            await super().apply(events)

    handler = Watched(target.database, [TopicSubscription(topic, {"item-changed": target.on_item_changed})])
    first = source.event(new_id(), new_id(), 1)
    await publish(producer, first)
    consumer = new_consumer(handler)
    consumer.start()
    await until(target.has(1), "the first is applied")
    await consumer.close()
    second = source.event(new_id(), new_id(), 1)
    await publish(producer, second)
    new_consumer(handler).start()
    await until(target.has(2), "the second is applied")
    assert seen == [first.id, second.id], "what was committed is not delivered again"


@pytest.mark.parametrize("refused_by", ["the broker", "the client"])
async def test_an_offset_that_could_not_be_committed_is_committed_later(
    source: Source,
    topic: str,
    group: str,
    kafka: str,
    producer: Producer,
    new_consumer: NewConsumer,
    monkeypatch: pytest.MonkeyPatch,
    refused_by: str,
) -> None:
    class Unlucky(confluent_kafka.Consumer):
        """Its first commit fails."""

        lucky = False

        def commit(self, *, offsets: list[TopicPartition], **how: bool) -> object:
            if not self.lucky:
                self.lucky = True
                if refused_by == "the client":
                    raise KafkaException(KafkaError(KafkaError._STATE))
                too_much = "x" * 10_000
                offsets = [TopicPartition(at.topic, at.partition, at.offset, too_much) for at in offsets]
            return super().commit(offsets=offsets, **how)

    class Anything:
        async def apply(self, events: Sequence[ConsumedEvent]) -> None:
            assert events

    monkeypatch.setattr(confluent_kafka, "Consumer", Unlucky)
    await publish(producer, source.event(new_id(), new_id(), 1))
    new_consumer(Anything()).start()
    await until(lambda: 1 in committed(kafka, group), "the offset is committed")


def committed(kafka: str, group: str) -> list[int]:
    """Offsets that the group has committed."""
    client = admin({"bootstrap.servers": kafka})
    [asked] = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    return [partition.offset for partition in asked.result(20).topic_partitions]


async def test_a_slow_handler_holds_its_partition_back_and_loses_nothing(
    source: Source,
    target: Applied,
    topic: str,
    producer: Producer,
    new_consumer: NewConsumer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_module, "_PAUSE_ABOVE", 40)
    monkeypatch.setattr(partition_module, "_RESUME_BELOW", 10)
    monkeypatch.setattr(partition_module, "BATCH", 20)
    monkeypatch.setattr(consumer_module, "BATCH", 20)
    user, item = new_id(), new_id()
    messages = [
        ProducerRecord(topic, user, envelope(source.event(user, item, version), ""), []) for version in range(1, 1001)
    ]
    await producer.publish(messages)
    new_consumer(inbox(target, topic)).start()
    await until(target.has(1000), "all are applied")
    assert [event.version for event in await target.events()] == list(range(1, 1001))


@pytest.mark.parametrize("instance", ["", "replica 0"], ids=["without a name", "with a name"])
async def test_a_killed_consumer_loses_nothing_and_repeats_nothing(
    source: Source, relay: Relay, target: Applied, target_url: str, topic: str, group: str, kafka: str, instance: str
) -> None:
    arguments = (kafka, group, topic, target_url, instance)
    victim = await start_process(*arguments)
    writing = asyncio.gather(*(source.changes(new_id(), 40) for _ in range(12)))
    await until(target.has(100), "the victim works", 60)
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    heir = await start_process(*arguments)
    await writing
    await asyncio.gather(*(source.changes(new_id(), 20) for _ in range(12)))
    await until(target.has(720), "the heir does the rest", 60)
    heir.terminate()
    assert await heir.wait() == 0
    events = await target.events()
    assert (check(source.committed, events).holds, len(events)) == (True, 720)


async def start_process(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.events.consumer_process", *arguments),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}"},
    )


async def test_a_handler_need_not_write_to_postgres(
    source: Source, topic: str, group: str, producer: Producer, kafka: str
) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.events: list[EventRef] = []

        async def apply(self, events: Sequence[ConsumedEvent]) -> None:
            if any(event.subject == poison for event in events):
                raise ValueError("poison")
            self.events += [EventRef(event.id, event.subject, event.version) for event in events]

    user, poison = new_id(), new_id()
    good = [source.event(user, new_id(), 1) for _ in range(3)]
    await publish(producer, good[0], source.event(user, poison, 1), *good[1:])
    recorder = Recorder()
    consumer = Consumer(kafka, group=group, topics=[topic], handler=recorder)
    consumer.start()
    await until(lambda: len(recorder.events) == 3, "all but the poisoned one")
    await consumer.close()
    assert [event.id for event in recorder.events] == [event.id for event in good]
