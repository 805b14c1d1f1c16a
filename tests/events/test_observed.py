"""What an operator can see of events on their way."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from confluent_kafka import KafkaError
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from harness.waiting import until
from mesh.events import consumer as consumer_module
from mesh.events import delivery
from mesh.events import partition as partition_module
from mesh.events import relay as relay_module
from mesh.events.consumer import Consumer
from mesh.events.envelope import ConsumedEvent, envelope
from mesh.events.inbox import Inbox, TopicSubscription
from mesh.events.producer import DeliveryTimeout, Producer, ProducerRecord
from mesh.events.relay import Relay
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.ids import new_id
from tests.events.fakes import Applied, Source


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    """Everything that is measured from here on; a process has one provider of meters."""
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


class Seen:
    """The latest value of every instrument: the sum of a counter, the count of a histogram, the sum over a gauge."""

    def __init__(self, reader: InMemoryMetricReader, **labels: str) -> None:
        self.values: dict[str, float] = {}
        data = reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points: list[Any] = list(metric.data.data_points)
                    found = [point for point in points if labels.items() <= dict(point.attributes).items()]
                    if found:
                        self.values[metric.name.removeprefix("focusmesh.")] = sum(map(_value, found))


def _value(point: Any) -> float:
    return float(point.count if hasattr(point, "count") else point.value)


async def test_an_outbox_that_waits_and_drains_is_seen(
    source: Source, producer: Producer, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_MEASURE_SECONDS", 0)
    service = f"source-{new_id()}"
    relay = Relay(source.url, producer, service=service)
    await source.changes(new_id(), 7)
    await relay.run_once()
    seen = Seen(reader, service=service).values
    assert (seen["outbox.published"], seen["outbox.publish_latency"], seen["outbox.rows"]) == (7, 1, 7)
    assert seen["outbox.oldest"] > 0
    await relay.run_once()
    seen = Seen(reader, service=service).values
    assert (seen["outbox.rows"], seen["outbox.oldest"], seen["outbox.blocked_keys"]) == (0, 0, 0)
    await relay.close()


async def test_events_that_wait_for_kafka_are_seen_while_it_is_away(
    source: Source, kafka: str, reader: InMemoryMetricReader
) -> None:
    class Away(Producer):
        async def publish(self, messages: Sequence[ProducerRecord], deadline: float = 0.0) -> list[KafkaError | None]:
            raise DeliveryTimeout(f"{len(messages)} messages within {deadline:g} s")

    service = f"source-{new_id()}"
    relay = Relay(source.url, Away(kafka, name="away"), service=service)
    await source.changes(new_id(), 3)
    with pytest.raises(DeliveryTimeout):
        await relay.run_once()
    assert Seen(reader, service=service).values["outbox.rows"] == 3
    await relay.close()


async def test_a_replica_that_does_not_publish_shows_what_waits_all_the_same(
    source: Source, producer: Producer, reader: InMemoryMetricReader
) -> None:
    service = f"source-{new_id()}"
    leading, standby = (Relay(source.url, producer, service=service) for _ in range(2))
    await leading.run_once()
    await source.changes(new_id(), 2)
    assert await standby.run_once() == 0
    assert Seen(reader, service=service).values["outbox.rows"] == 2
    await standby.close()
    await leading.close()


async def test_repeats_stale_versions_and_dead_letters_are_seen(
    source: Source,
    target: Applied,
    producer: Producer,
    kafka: str,
    topic: str,
    group: str,
    reader: InMemoryMetricReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "backoff", lambda *_, **__: 0.01)
    monkeypatch.setattr(consumer_module, "_MEASURE_SECONDS", 0.05)
    ann, item = new_id(), new_id()
    first, third, second = (source.event(ann, item, version) for version in (1, 3, 2))
    poison = source.event(new_id(), new_id(), 1)
    target.poison.add(poison.id)
    for event in (first, first, third, second, poison):
        await producer.publish([ProducerRecord(topic, event.user_id, envelope(event, ""), [])])
    inbox = Inbox(target.database, [TopicSubscription(topic, {"item-changed": target.on_item_changed})])
    consumer = Consumer(kafka, group=group, topics=[topic], handler=inbox, parking=inbox)

    def all_is_seen() -> bool:
        seen = Seen(reader, topic=topic).values
        return (
            seen.get("inbox.duplicates") == 1
            and seen.get("inbox.stale") == 1
            and seen.get("consumer.dead_letters") == 1
            and seen.get("inbox.parked_keys") == 1
            and seen.get("consumer.commit_to_effect", 0) >= 2
            and seen.get("consumer.lag") == 0
            and seen.get("consumer.lag_seconds") == 0
        )

    async with AsyncExitStack() as closing:
        closing.push_async_callback(consumer.close)
        consumer.start()
        await until(all_is_seen, "every count is right", 60)


async def test_the_lag_of_what_is_not_read_is_seen(
    source: Source,
    producer: Producer,
    kafka: str,
    topic: str,
    group: str,
    reader: InMemoryMetricReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also by a consumer that starts while its handler fails, and has read next to nothing."""
    monkeypatch.setattr(consumer_module, "_MEASURE_SECONDS", 0.05)
    monkeypatch.setattr(partition_module, "BATCH", 20)
    monkeypatch.setattr(consumer_module, "BATCH", 20)
    user = new_id()
    had: list[str] = []

    class Passing:
        """A handler that works."""

        async def apply(self, events: Sequence[ConsumedEvent]) -> None:
            had.extend(event.id for event in events)

    class Away:
        """A handler that fails."""

        async def apply(self, events: Sequence[ConsumedEvent]) -> None:
            raise DependencyUnavailable(f"what {len(events)} events need")

    async def publish(versions: range) -> None:
        events = [source.event(user, new_id(), version) for version in versions]
        await producer.publish([ProducerRecord(topic, user, envelope(event, ""), []) for event in events])

    await publish(range(1))
    first = Consumer(kafka, group=group, topics=[topic], handler=Passing())
    first.start()
    await until(lambda: len(had) == 1, "the first event has its effect")
    await first.close()
    await publish(range(1, 2001))
    second = Consumer(kafka, group=group, topics=[topic], handler=Away())
    second.start()
    async with AsyncExitStack() as closing:
        closing.push_async_callback(second.close)
        await until(lambda: Seen(reader, topic=topic, group=group).values.get("consumer.lag") == 2000, "all that waits")
