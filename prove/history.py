"""The history of a run, read past the services: topics from the broker, tables from the database."""

import json
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import confluent_kafka
import psycopg
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from prove.checker import Message, Record, Task
from stack.database import MAIN
from stack.errors import StackError
from stack.stack import Stack

TASK_EVENTS, TASK_UPDATES, USER_EVENTS = "task-events", "task-updates", "user-events"
SESSION_EVENTS, REMINDERS, NOTIFICATION_EVENTS = "session-events", "reminders", "notification-events"
_SECONDS = 20.0
_BATCH = 1000
_BATCH_SECONDS = 0.1
Partition = tuple[str, int]
"""Topic and partition."""


class History(NamedTuple):
    """Everything that the checker compares with the attempts."""

    tasks: list[Task]
    messages: list[Message]
    """Of every topic but those of dead letters."""
    records: list[Record]
    dead_letters: dict[str, int]
    """How many messages came to each dead-letter topic."""

    def of(self, topic: str) -> list[Message]:
        """The messages of one topic."""
        return [message for message in self.messages if message.topic == topic]


class Broker:
    """A reader of whole topics; belongs to no group and commits nothing."""

    def __init__(self, connection: Mapping[str, str]) -> None:
        """connection: as `Stack.broker.client`."""
        self._client = confluent_kafka.Consumer(
            {
                **connection,
                "group.id": "prove",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def ends(self, topics: Iterable[str]) -> dict[Partition, int]:
        """The offset that the next message of every partition gets. Raises KafkaException."""
        found = self._client.list_topics(timeout=_SECONDS).topics
        partitions = [(topic, number) for topic in topics for number in found[topic].partitions]
        return {
            partition: self._client.get_watermark_offsets(TopicPartition(*partition), _SECONDS)[1]
            for partition in partitions
        }

    def read(self, since: Mapping[Partition, int], users: Collection[str] | None) -> list[Message]:
        """Messages of these users, or of all, from `since` to the present ends. Raises KafkaException, StackError."""
        waiting = {
            partition for partition, end in self.ends({topic for topic, _ in since}).items() if end > since[partition]
        }
        self._client.assign([TopicPartition(*partition, since[partition] or OFFSET_BEGINNING) for partition in since])
        messages: list[Message] = []
        deadline = time.monotonic() + _SECONDS
        while waiting:
            # Returns when it has so many, or at the time-out: never earlier.
            records = self._client.consume(_BATCH, _BATCH_SECONDS)
            if records:
                deadline = time.monotonic() + _SECONDS
            elif time.monotonic() > deadline:
                raise StackError(f"the broker gave nothing for {_SECONDS:.0f} s", advice="`make logs S=kafka`")
            for record in records:
                error = record.error()
                if error is None:
                    messages.append(_message(record))
                elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    waiting.discard((str(record.topic()), int(record.partition() or 0)))
        self._client.unassign()
        return [message for message in messages if users is None or message.user_id in users]


class Tables:
    """The database as its administrator sees it."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.cluster.administrator_url(MAIN)

    def tasks(self, users: Collection[str]) -> list[Task]:
        """Tasks of these users, deleted ones too."""
        sql = "SELECT id::text, user_id::text, title, version FROM todo.tasks WHERE user_id = ANY(%s::uuid[])"
        return [Task(*row) for row in self._rows(sql, users)]

    def records(self, users: Collection[str]) -> list[Record]:
        """Audit records of these users."""
        sql = (
            "SELECT user_id::text, chain_position, event_id::text, event_type, task_id::text"
            " FROM audit.audit_records WHERE user_id = ANY(%s::uuid[])"
        )
        return [Record(*row) for row in self._rows(sql, users)]

    def progress(self, users: Collection[str]) -> tuple[int, int, int]:
        """How many changes committed, how many of them wait in the outbox, and how many records there are."""
        sql = (
            "SELECT (SELECT coalesce(sum(version), 0) FROM todo.tasks WHERE user_id = ANY(%(users)s::uuid[])),"
            " (SELECT count(*) FROM todo.outbox WHERE key = ANY(%(users)s::text[])),"
            " (SELECT count(*) FROM audit.audit_records WHERE user_id = ANY(%(users)s::uuid[]))"
        )
        with psycopg.connect(self._url) as connection:
            row = connection.execute(sql, {"users": list(users)}).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)

    def _rows(self, sql: str, users: Collection[str]) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url) as connection:
            return connection.execute(sql, [list(users)]).fetchall()


def _message(record: confluent_kafka.Message) -> Message:
    envelope = json.loads(record.value() or b"")
    return Message(
        topic=str(record.topic()),
        partition=int(record.partition() or 0),
        offset=int(record.offset() or 0),
        event_id=envelope["id"],
        type=envelope["type"],
        user_id=(record.key() or b"").decode(),
        task_id=envelope["subject"],
        version=int(envelope["sequence"]),
        time=datetime.fromisoformat(envelope["time"]),
        published=datetime.fromtimestamp(record.timestamp()[1] / 1000, UTC),
    )
