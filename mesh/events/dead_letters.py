"""Dead letters: the format of the records of a topic `<topic>.<group>.dlq`, and how they are read.

A partition holds the complete history of its keys, in order: letters (the original message with error headers),
operators' commands to replay a key, and the consumer's responses. A letter is outstanding until a response releases
everything up to its offset.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import confluent_kafka
from confluent_kafka import OFFSET_INVALID, TopicPartition

from mesh.events.envelope import Message
from mesh.events.producer import ProducerRecord

SUFFIX = ".dlq"
REASON, TOPIC, PARTITION, OFFSET, TIME = "dlq-reason", "dlq-topic", "dlq-partition", "dlq-offset", "dlq-time"
REPLAY, SKIP = "dlq-replay", "dlq-skip"
RELEASED, THROUGH, REFUSED = "dlq-released", "dlq-through", "dlq-refused"
_LONGEST_REASON = 1000
_BATCH = 500


class ReadTimeout(Exception):  # noqa: N818 (Kafka is slow, not wrong)
    """A partition was not read to its end in time."""


class Letter(NamedTuple):
    """One dead letter."""

    message: Message
    """As stored in the dead-letter topic: the original key, value and headers, with the error headers added."""
    reason: str
    topic: str
    """The original topic; `partition` and `offset` are the original ones too."""
    partition: int
    offset: int
    time: str
    """When it was dead-lettered, RFC 3339."""


class Command(NamedTuple):
    """An operator's command to replay a key."""

    id: str
    skip: frozenset[int]
    """Offsets of letters to drop for good."""


def topic_of(topic: str, group: str) -> str:
    """The dead-letter topic of a topic and a consumer group."""
    return f"{topic}.{group}{SUFFIX}"


def letter(message: Message, group: str, reason: str) -> ProducerRecord:
    """The record of a message that is dead-lettered."""
    headers: list[tuple[str, str | bytes]] = [
        *message.headers,
        (REASON, reason[:_LONGEST_REASON]),
        (TOPIC, message.topic),
        (PARTITION, str(message.partition)),
        (OFFSET, str(message.offset)),
        (TIME, datetime.now(UTC).isoformat(timespec="milliseconds")),
    ]
    return ProducerRecord(topic_of(message.topic, group), message.key, message.value, headers)


def replay_command(dead_letter_topic: str, key: bytes | None, command: Command) -> ProducerRecord:
    """The record of a command."""
    skip = ",".join(map(str, sorted(command.skip)))
    return ProducerRecord(dead_letter_topic, key, None, [(REPLAY, command.id), (SKIP, skip)])


def command_in(message: Message) -> Command | None:
    """The command that a record holds; None for any other record."""
    command = message.header(REPLAY)
    if command is None:
        return None
    return Command(command, frozenset(map(int, filter(None, (message.header(SKIP) or "").split(",")))))


def released(message: Message, command: Command, through: int) -> ProducerRecord:
    """The response to a command that was executed. through: offset of the last letter that it covers."""
    return ProducerRecord(message.topic, message.key, None, [(RELEASED, command.id), (THROUGH, str(through))])


def refused(message: Message, command: Command, reason: str) -> ProducerRecord:
    """The response to a command that failed and changed nothing."""
    return ProducerRecord(message.topic, message.key, None, [(REFUSED, command.id), (REASON, reason[:_LONGEST_REASON])])


def outstanding(records: Iterable[Message]) -> list[Letter]:
    """The letters that wait for a replay, each message once, in order. records: of complete partitions."""
    letters: dict[tuple[str, int, int], Letter] = {}
    through: dict[tuple[str, int, bytes | None], int] = {}
    for record in records:
        if (released_through := record.header(THROUGH)) is not None:
            key = (record.topic, record.partition, record.key)
            through[key] = max(through.get(key, -1), int(released_through))
        elif record.header(OFFSET) is not None:
            found = _letter_in(record)
            letters.setdefault((found.topic, found.partition, found.offset), found)
    return [
        found
        for found in letters.values()
        if found.message.offset > through.get((found.message.topic, found.message.partition, found.message.key), -1)
    ]


def _letter_in(record: Message) -> Letter:
    return Letter(
        record,
        record.header(REASON) or "",
        record.header(TOPIC) or "",
        int(record.header(PARTITION) or 0),
        int(record.header(OFFSET) or 0),
        record.header(TIME) or "",
    )


def message_from(record: confluent_kafka.Message) -> Message:
    """Converts a record of librdkafka."""
    return Message(
        record.topic() or "",
        record.partition() or 0,
        record.offset() or 0,
        record.key(),
        record.value(),
        tuple((name, value if isinstance(value, bytes) else b"") for name, value in record.headers() or ()),
        record.timestamp()[1],
    )


def read_partition(
    settings: dict[str, Any], topic: str, partition: int, *, key: bytes | None = None, seconds: float = 20.0
) -> Sequence[Message]:
    """The records of a partition up to its end at the time of the call; blocks. Raises ReadTimeout after `seconds`.

    key: only its records are kept; None for all.
    """
    deadline = time.monotonic() + seconds
    reader = confluent_kafka.Consumer(
        settings | {"group.id": "dead-letter-reader", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    )
    try:
        first, end = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=seconds)
        messages: list[Message] = []
        position = first
        if position < end:
            reader.assign([TopicPartition(topic, partition, first)])
        while position < end and position != OFFSET_INVALID:
            if time.monotonic() > deadline:
                raise ReadTimeout(f"{topic}/{partition} was read only to {position} of {end}")
            found = [message_from(record) for record in reader.consume(_BATCH, 0.1) if record.error() is None]
            messages += [message for message in found if message.offset < end and key in (None, message.key)]
            if found:
                position = found[-1].offset + 1
    finally:
        reader.close()
    return messages
