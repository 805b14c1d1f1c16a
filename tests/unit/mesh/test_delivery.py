"""Delivery: what is tried again, what is given up, and what goes on meanwhile."""

import json
from collections.abc import Sequence

import psycopg
import pytest
import redis
from confluent_kafka import KafkaError
from psycopg import errors as postgres

from mesh.events import delivery
from mesh.events.dead_letters import REASON
from mesh.events.delivery import TRIES, Delivery, is_transient
from mesh.events.envelope import ConsumedEvent, Message, envelope
from mesh.events.outbox import Event
from mesh.events.producer import DeliveryTimeout, ProducerRecord
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.ids import new_id


class Handler:
    """Records what it applied; fails on what is in `poison`, and with what is in `outage`."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.calls = 0
        self.poison: set[str] = set()
        self.outage: list[Exception] = []

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        self.calls += 1
        if self.outage:
            raise self.outage.pop(0)
        for event in events:
            if event.subject in self.poison:
                raise ValueError(f"{event.subject} is poison")
        self.applied += [event.subject for event in events]


class Outbound:
    """Where dead letters go."""

    def __init__(self) -> None:
        self.letters: list[ProducerRecord] = []

    async def publish(self, messages: Sequence[ProducerRecord]) -> list[KafkaError | None]:
        self.letters += messages
        return [None] * len(messages)

    def reasons(self) -> list[str]:
        return [str(dict(letter.headers)[REASON]) for letter in self.letters]


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def outbound() -> Outbound:
    return Outbound()


@pytest.fixture
def partition(handler: Handler, outbound: Outbound, monkeypatch: pytest.MonkeyPatch) -> Delivery:
    monkeypatch.setattr(delivery, "backoff", lambda *_, **__: 0)
    return Delivery("task-events", group="audit", handler=handler, parking=None, publisher=outbound)


def messages(*subjects: str) -> list[Message]:
    return [_message(offset, subject) for offset, subject in enumerate(subjects)]


def _message(offset: int, subject: str) -> Message:
    event = Event(new_id(), "task-created", "todo", ("task-events",), "ann", subject, "task_id", 1, 0, {})
    return Message("task-events", 0, offset, b"ann", envelope(event, ""), (), 0)


async def test_a_batch_is_applied_at_once(partition: Delivery, handler: Handler) -> None:
    await partition.deliver(messages("a", "b", "c"))
    assert (handler.applied, handler.calls) == (["a", "b", "c"], 1)


@pytest.mark.parametrize(
    "outage",
    [
        psycopg.OperationalError("gone"),
        postgres.SerializationFailure("raced"),
        postgres.DeadlockDetected("raced"),
        postgres.QueryCanceled("deadline"),
        postgres.ReadOnlySqlTransaction("demoted"),
        DependencyUnavailable("database"),
        DeliveryTimeout("Kafka is away"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_may_pass_is_tried_for_as_long_as_it_takes(
    partition: Delivery, handler: Handler, outbound: Outbound, outage: Exception
) -> None:
    handler.outage = [outage] * (TRIES * 3)
    await partition.deliver(messages("a", "b"))
    assert (handler.applied, outbound.letters) == (["a", "b"], [])


async def test_one_poisoned_message_costs_no_other_its_effect(
    partition: Delivery, handler: Handler, outbound: Outbound
) -> None:
    handler.poison = {"s37"}
    subjects = [f"s{number}" for number in range(100)]
    await partition.deliver(messages(*subjects))
    assert handler.applied == [subject for subject in subjects if subject != "s37"]
    assert outbound.reasons() == ["ValueError: s37 is poison"]
    assert handler.calls < 30, "a poisoned batch is halved, not taken apart"


async def test_a_message_is_given_up_after_five_tries(
    partition: Delivery, handler: Handler, outbound: Outbound
) -> None:
    handler.poison = {"a"}
    await partition.deliver(messages("a"))
    assert (handler.calls, len(outbound.letters)) == (TRIES, 1)


async def test_a_dead_letter_keeps_its_key_and_its_bytes(
    partition: Delivery, handler: Handler, outbound: Outbound
) -> None:
    handler.poison = {"a"}
    [message] = messages("a")
    await partition.deliver([message])
    [letter] = outbound.letters
    assert (letter.topic, letter.key, letter.value) == ("task-events.audit.dlq", message.key, message.value)


async def test_an_outage_among_the_tries_does_not_count(
    partition: Delivery, handler: Handler, outbound: Outbound
) -> None:
    handler.poison = {"a"}
    handler.outage = [psycopg.OperationalError("gone")] * 20
    await partition.deliver(messages("a"))
    assert (handler.calls, len(outbound.letters)) == (20 + TRIES, 1)


@pytest.mark.parametrize("value", [b"not json", json.dumps({"specversion": "1.0"}).encode(), None])
async def test_an_unreadable_message_is_a_dead_letter_and_the_others_go_on(
    partition: Delivery, handler: Handler, outbound: Outbound, value: bytes | None
) -> None:
    first, broken, last = messages("a", "b", "c")
    await partition.deliver([first, broken._replace(value=value), last])
    assert handler.applied == ["a", "c"]
    assert outbound.reasons()[0].startswith("MalformedEvent")


async def test_a_dead_letter_is_never_dropped_when_its_topic_refuses_it(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "backoff", lambda *_, **__: 0)

    class Refusing(Outbound):
        async def publish(self, messages: Sequence[ProducerRecord]) -> list[KafkaError | None]:
            await super().publish(messages)
            return [KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART) if len(self.letters) < 3 else None]

    outbound = Refusing()
    partition = Delivery("task-events", group="audit", handler=handler, parking=None, publisher=outbound)
    handler.poison = {"a"}
    await partition.deliver(messages("a"))
    assert len(outbound.letters) == 3


def test_a_value_beyond_the_limits_of_postgres_does_not_pass_by_waiting() -> None:
    assert not is_transient(postgres.ProgramLimitExceeded("index row size 2800 exceeds maximum"))
    assert not is_transient(postgres.CheckViolation("no"))
    assert is_transient(postgres.AdminShutdown("restart"))
    assert is_transient(redis.OutOfMemoryError("full"))
    assert is_transient(redis.ResponseError("MISCONF cannot persist on disk"))
    assert not is_transient(redis.ResponseError("WRONGTYPE of a key"))
