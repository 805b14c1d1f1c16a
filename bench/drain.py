"""How fast the relay carries a full outbox to Kafka, counted in the topics."""

import time
from typing import NamedTuple

import confluent_kafka

from bench.dataset import Dataset
from harness.waiting import wait_until
from stack import registry
from stack.errors import StackError
from stack.stack import Stack

_REGISTRY = registry.load()
_TOPICS = _REGISTRY.service("todo").publishes
CONSUMED = tuple(
    (topic, service.name) for service in _REGISTRY.services.values() for topic in service.consumes if topic in _TOPICS
)
"""Topics of todo, each with a consumer group."""
CONSUMERS = tuple(sorted({f"{group}-0" for _, group in CONSUMED}))
_DEADLINE_SECONDS = 180.0
_POLL_SECONDS = 0.01
_ADVICE = "`make logs S=todo-0`"


class Drain(NamedTuple):
    """What was seen."""

    events: int
    seconds: float
    messages: int
    """In both topics together: twice the events, unless some were sent twice."""

    @property
    def per_second(self) -> float:
        """Events."""
        return self.events / self.seconds


def measure(stack: Stack, dataset: Dataset, events: int) -> Drain:
    """Fills the outbox while todo is stopped, starts it, and times from the first message to the empty outbox.

    The consumers are stopped meanwhile: they would share the relay's cores, and the rate is the relay's.
    """
    for name in (*CONSUMERS, "todo-0"):
        stack.supervisor.stop([name])
    dataset.fill_outbox(events)
    client = confluent_kafka.Consumer({**stack.broker.client, "group.id": "bench", "log_level": 2})
    try:
        before = _messages(client)
        stack.supervisor.start_program("todo-0")
        began = _first_movement(client, before)
        wait_until(
            dataset.outbox_empty, "the relay empties the outbox", _DEADLINE_SECONDS, poll=_POLL_SECONDS, advice=_ADVICE
        )
        seconds = time.monotonic() - began
        return Drain(events, seconds, _messages(client) - before)
    finally:
        client.close()


def _first_movement(client: confluent_kafka.Consumer, before: int) -> float:
    """The latest instant at which there was nothing new."""
    started = last = time.monotonic()
    while True:
        asked = time.monotonic()
        if _messages(client) > before:
            return last
        last = asked
        _check(started)
        time.sleep(_POLL_SECONDS)


def _messages(client: confluent_kafka.Consumer) -> int:
    total = 0
    for topic in _TOPICS:
        for partition in client.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = client.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), timeout=10)
            total += high - low
    return total


def _check(since: float) -> None:
    if time.monotonic() - since > _DEADLINE_SECONDS:
        raise StackError("the relay did not empty the outbox", advice=_ADVICE)
