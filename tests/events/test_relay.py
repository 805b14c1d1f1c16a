"""The relay: what committed arrives on Kafka, in order, whatever happens to relays, connections and brokers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import psycopg
import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from harness.waiting import until
from mesh.events import outbox
from mesh.events import relay as relay_module
from mesh.events.envelope import envelope, stamped
from mesh.events.producer import DeliveryTimeout, Producer, ProducerRecord
from mesh.events.relay import Relay
from mesh.runtime.ids import new_id
from stack.infrastructure.kafka import admin
from tests.events.checker import check, event_of
from tests.events.fakes import REVISION, TRACEPARENT, Source, raw
from tests.support.databases import opened_at
from tests.support.fault_proxy import fault_proxy

RunningRelay = Callable[..., Relay]


@pytest.fixture
async def new_relay(source: Source, producer: Producer) -> AsyncIterator[RunningRelay]:
    """Makes relays of the source; they are closed at the end."""
    async with AsyncExitStack() as closing:

        def make(through: Producer = producer) -> Relay:
            relay = Relay(source.url, through, service="source")
            closing.push_async_callback(relay.close)
            return relay

        yield make


async def test_an_event_reaches_every_topic_it_is_for(
    source_url: str, new_topic: Callable[[str], str], producer: Producer, kafka: str
) -> None:
    topics = [new_topic("first"), new_topic("second")]
    async with opened_at(source_url, REVISION, connections=16) as database:
        source = Source(database, source_url, topics)
        relay = Relay(source_url, producer, service="source")
        event = await source.change(new_id(), new_id(), 1)
        assert await relay.run_once() == 1
        await relay.close()
        assert await source.waiting() == 0
    for topic in topics:
        [message] = raw(kafka, topic)
        assert (message.key, message.value) == (event.user_id.encode(), stamped(envelope(event, TRACEPARENT), 1))
        assert message.headers == (
            ("content-type", b"application/cloudevents+json"),
            ("traceparent", TRACEPARENT.encode()),
        )


async def test_of_several_replicas_one_publishes_and_keeps_the_order(
    source: Source, new_relay: RunningRelay, kafka: str
) -> None:
    relays = [new_relay() for _ in range(3)]
    for relay in relays:
        relay.start()
    await asyncio.gather(*(source.changes(new_id(), 40) for _ in range(12)))
    await until(source.all_published, "the outbox is empty")
    found = [event_of(message) for message in raw(kafka, source.topics[0])]
    assert check(source.committed, found).holds
    assert len(found) == len(source.committed), "nothing was published twice"


async def test_a_relay_leaves_alone_what_another_one_publishes(
    source: Source, new_relay: RunningRelay, kafka: str
) -> None:
    both = asyncio.Barrier(2)

    class Slow(Producer):
        async def publish(self, messages: Sequence[ProducerRecord], deadline: float = 5.0) -> list[KafkaError | None]:
            await both.wait()
            await both.wait()
            return await super().publish(messages, deadline)

    slow = Slow(kafka, name="slow")
    slow.start()
    await source.changes(new_id(), 3)
    first = asyncio.create_task(new_relay(slow).run_once())
    await both.wait()
    assert await new_relay().run_once() == 0
    await both.wait()
    assert await first == 3
    await slow.close()


async def test_a_commit_wakes_the_relay_of_its_process(source: Source, new_relay: RunningRelay) -> None:
    class Drowsy(Relay):
        shortest_wait = longest_wait = 3600.0

    relay = new_relay()
    relay.__class__ = Drowsy
    relay.start()
    outbox.add_append_listener(relay.wake)
    for _ in range(5):
        await source.change(new_id(), new_id(), 1)
        await until(source.all_published, "the event is published without waiting for the next poll", 5)


async def test_a_relay_that_loses_its_database_after_publishing_repeats_and_loses_nothing(
    source: Source, new_relay: RunningRelay, kafka: str, events_database: str
) -> None:
    class CutOff(Producer):
        """Ends the relay's sessions between the acknowledgement and the deletion, once."""

        done = False

        async def publish(self, messages: Sequence[ProducerRecord], deadline: float = 5.0) -> list[KafkaError | None]:
            outcome = await super().publish(messages, deadline)
            if not self.done:
                self.done = True
                await end_sessions(events_database, "source relay")
            return outcome

    cut_off = CutOff(kafka, name="cut off")
    cut_off.start()
    relay = new_relay(cut_off)
    await source.changes(new_id(), 5)
    relay.start()
    await until(source.all_published, "the outbox is empty")
    await relay.close()
    await cut_off.close()
    found = [event_of(message) for message in raw(kafka, source.topics[0])]
    assert check(source.committed, found).holds
    assert len(found) == 10


async def end_sessions(administrator_url: str, application: str) -> None:
    async with await psycopg.AsyncConnection.connect(administrator_url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (application,)
        )


async def test_a_relay_that_hangs_loses_its_lease(
    source: Source, new_relay: RunningRelay, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_LEASE_MS", 300)
    hanging = asyncio.Event()

    class Hanging(Producer):
        async def publish(self, *_: object) -> list[KafkaError | None]:
            hanging.set()
            return await asyncio.Future()

    await source.changes(new_id(), 3)
    stuck = asyncio.create_task(new_relay(Hanging(kafka, name="hanging")).run_once())
    await hanging.wait()
    heir = new_relay()
    heir.start()
    await until(source.all_published, "another relay takes over", 10)
    stuck.cancel()
    assert check(source.committed, map(event_of, raw(kafka, source.topics[0]))).holds


@pytest.mark.parametrize("next_measure", [0.0, float("inf")], ids=["while it measures", "while it publishes"])
async def test_a_relay_whose_database_stops_responding_gives_its_connection_up(
    source: Source, producer: Producer, monkeypatch: pytest.MonkeyPatch, next_measure: float
) -> None:
    at = conninfo_to_dict(source.url)
    async with fault_proxy(f"tcp://{at['host']}:{at['port']}") as postgres:
        relay = Relay(make_conninfo(source.url, port=postgres.port), producer, service="source")
        assert await relay.run_once() == 0
        await source.changes(new_id(), 3)
        monkeypatch.setattr(relay, "_next_measure", next_measure)
        postgres.freeze()
        with monkeypatch.context() as hurried:
            hurried.setattr(relay_module, "_PASS_SECONDS", 0.3)
            a_pass = asyncio.create_task(relay.run_once())
            await asyncio.wait([a_pass], timeout=5)
        assert isinstance(a_pass.exception(), psycopg.OperationalError)
        await postgres.up()
        assert await relay.run_once() == 3
        await relay.close()


async def test_events_wait_while_kafka_is_away_and_a_relay_that_reaches_it_takes_over(
    source: Source, new_relay: RunningRelay, kafka: str
) -> None:
    away = Producer("127.0.0.1:9", name="away")
    away.publish = partial(away.publish, deadline=0.5)  # type: ignore[method-assign]
    away.start()
    await source.changes(new_id(), 5)
    with pytest.raises(DeliveryTimeout):
        await new_relay(away).run_once()
    await away.close()
    assert await source.waiting() == 5
    assert await new_relay().run_once() == 5
    assert check(source.committed, map(event_of, raw(kafka, source.topics[0]))).holds


async def test_a_relay_that_fails_for_any_reason_leaves_publishing_to_another(
    source: Source, new_relay: RunningRelay, kafka: str
) -> None:
    class Misconfigured(Producer):
        async def publish(self, messages: Sequence[ProducerRecord], deadline: float = 5.0) -> list[KafkaError | None]:
            raise RuntimeError(f"{len(messages)} messages, {deadline:g} s: no such certificate")

    failing, standby = new_relay(Misconfigured(kafka, name="misconfigured")), new_relay()
    await source.changes(new_id(), 3)
    with pytest.raises(RuntimeError):
        await failing.run_once()
    failing.start()
    standby.start()
    await until(source.all_published, "the other relay publishes", 5)


async def test_a_producer_that_does_not_run_says_so(kafka: str) -> None:
    producer = Producer(kafka, name="resting")
    with pytest.raises(DeliveryTimeout):
        await producer.publish([])
    producer.start()
    assert await producer.publish([]) == []
    await producer.close()
    await producer.close()
    with pytest.raises(DeliveryTimeout):
        await producer.publish([])


async def test_a_stopping_relay_publishes_what_is_left(source: Source, new_relay: RunningRelay) -> None:
    class Drowsy(Relay):
        shortest_wait = longest_wait = 3600.0

    relay = new_relay()
    relay.__class__ = Drowsy
    relay.start()
    await source.changes(new_id(), 5)
    await relay.close()
    assert await source.waiting() == 0


async def test_an_event_that_kafka_refuses_blocks_its_key_and_no_other(
    source_url: str,
    new_topic: Callable[..., str],
    producer: Producer,
    kafka: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(relay_module, "_FIRST_BLOCK_SECONDS", 0.5)
    topic = new_topic("narrow", **{"max.message.bytes": "4096"})
    noise = "".join(new_id() for _ in range(1000))
    ann, *others = same_shard(9)
    async with opened_at(source_url, REVISION, connections=16) as database, AsyncExitStack() as closing:
        source = Source(database, source_url, [topic])
        await source.changes(ann, 2)
        item = new_id()
        await source.change(ann, item, 1, {"title": noise})
        await source.change(ann, item, 2)
        for user in others:
            await source.changes(user, 3)
        relay = Relay(source_url, producer, service="source")
        closing.push_async_callback(relay.close)
        relay.start()

        await until(partial(waits_for, source, 2), "everything but the refused event and what follows it")
        await until(lambda: any("Kafka refuses event" in text for text in caplog.messages), "the error is logged")
        refused_yet = {event_of(message).subject for message in raw(kafka, topic)}
        assert item not in refused_yet

        widen(kafka, topic)
        await until(source.all_published, "the key goes on once Kafka takes its event")
        assert check(source.committed, map(event_of, raw(kafka, topic))).holds


async def test_an_event_that_kafka_refuses_blocks_no_key_of_another_shard(
    source_url: str, new_topic: Callable[..., str], producer: Producer, caplog: pytest.LogCaptureFixture
) -> None:
    """Though they travel together, and a batch is refused as a whole."""
    topic = new_topic("narrow", **{"max.message.bytes": "4096"})
    async with opened_at(source_url, REVISION, connections=16) as database, AsyncExitStack() as closing:
        source = Source(database, source_url, [topic])
        first, *others = (a_user_of(shard) for shard in range(outbox.SHARDS))
        await source.change(first, new_id(), 1, {"title": "".join(new_id() for _ in range(1000))})
        for user in others:
            await source.changes(user, 10)
        relay = Relay(source_url, producer, service="source")
        closing.push_async_callback(relay.close)
        relay.start()
        await until(partial(waits_for, source, 1), "everything but the refused event")
        await until(lambda: "Kafka refuses event" in caplog.text, "the refused event blocks its key")
        assert sum("Kafka refuses event" in text for text in caplog.messages) == 1


@pytest.mark.parametrize(
    "code", [KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE]
)
async def test_what_fails_only_with_a_refused_event_is_sent_again_at_once(
    source: Source, new_relay: RunningRelay, kafka: str, code: int
) -> None:
    offending, other = a_user_of(0), a_user_of(1)

    class Sweeping(Producer):
        """Refuses one user's events twice; the errors of the others' events are then no verdict on them."""

        times = 2

        async def publish(self, messages: Sequence[ProducerRecord], deadline: float = 5.0) -> list[KafkaError | None]:
            if not self.times:
                return await super().publish(messages, deadline)
            self.times -= any(message.key == other for message in messages)
            verdicts = {offending: KafkaError.MSG_SIZE_TOO_LARGE, other: code}
            return [KafkaError(verdicts[str(message.key)]) for message in messages]

    sweeping = Sweeping(kafka, name="sweeping")
    sweeping.start()
    relay = new_relay(sweeping)
    for user in (offending, other):
        await source.changes(user, 1)
    for _ in range(3):
        await relay.run_once()
    await sweeping.close()
    assert [message.key for message in raw(kafka, source.topics[0])] == [other.encode()]
    assert await source.waiting() == 1


def a_user_of(shard: int) -> str:
    """A user whose events are in the shard."""
    return next(user for user in iter(new_id, "") if outbox.shard(user) == shard)


async def waits_for(source: Source, count: int) -> bool:
    return await source.waiting() == count


def same_shard(count: int) -> list[str]:
    """Users whose events are in one shard, so that one could block the others."""
    users = [new_id() for _ in range(count * outbox.SHARDS * 4)]
    return [user for user in users if outbox.shard(user) == 3][:count]


def widen(kafka: str, topic: str) -> None:
    entry = ConfigEntry("max.message.bytes", "1048588", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin({"bootstrap.servers": kafka})
    for altered in client.incremental_alter_configs([resource]).values():
        altered.result(20)


async def test_a_backlog_is_drained_fast(source: Source, new_relay: RunningRelay, kafka: str) -> None:
    """A floor far below what is measured (20,000 a second), for machines that are busy."""
    async with source.database.connection() as connection:
        await connection.execute(
            "INSERT INTO outbox (event_id, topics, key, version, shard, value)"
            " SELECT gen_random_uuid(), %s, 'user ' || n %% 100, n, n %% 100 %% 8, convert_to(repeat('x', 900), 'UTF8')"
            " FROM generate_series(1, 10000) AS n",
            (list(source.topics),),
        )
    relay = new_relay()
    begun = time.monotonic()
    while await relay.run_once():
        pass
    assert len(raw(kafka, source.topics[0])) == 10_000
    assert 10_000 / (time.monotonic() - begun) > 1_500
