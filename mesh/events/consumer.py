"""The consumer: delivers events of other services to an event handler, at least once, in order per key.

One thread owns librdkafka's consumer: it polls, pauses, commits and closes. Each partition has a task on the event
loop; partitions run side by side, each in order. The offset is committed after the handler is done, so a crash in
between repeats the batch; the handler drops duplicates (`mesh/events/inbox.py`).
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import cast

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from mesh.events import dead_letters
from mesh.events.delivery import Delivery, EventHandler, Parking, Replays
from mesh.events.envelope import Message
from mesh.events.group_commit import GroupCommit
from mesh.events.partition import BATCH, Deliverer, Partition, PartitionId
from mesh.events.producer import Producer, client_settings
from mesh.runtime.lifecycle import Component, backoff
from mesh.runtime.telemetry import meter

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
_COMMIT_SECONDS = 0.2
_LEAVE_SECONDS = 5.0
_MEASURE_SECONDS = 5.0
_LOOK_UP_SECONDS = 1.0
_METADATA_SECONDS = 0.5
_CLOSE_SECONDS = 20.0
_WORKED_SECONDS = 60.0
"""A client that ran this long had worked: the backoff starts over."""
_GATHERED_BYTES = 256 * 1024
"""Of messages that the broker gathers; so many are delivered at once, however long they would wait."""

_lag = meter.create_gauge("focusmesh.consumer.lag", unit="{message}")
_lag_seconds = meter.create_gauge("focusmesh.consumer.lag_seconds", unit="s")

_SETTINGS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    # The newer `consumer` protocol reassigns the partitions of a killed member only after 45 s.
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1500,
    "fetch.error.backoff.ms": 100,
    "queued.max.messages.kbytes": 16384,
    "topic.metadata.refresh.interval.ms": 10_000,
}


class Consumer(Component):
    """One member of a consumer group."""

    def __init__(
        self,
        bootstrap: str,
        *,
        group: str,
        topics: Sequence[str],
        handler: EventHandler,
        parking: Parking | None = None,
        options: str = "",
        instance: str = "",
        gather_ms: int = 0,
    ) -> None:
        """group: name of the service. parking: stores parked keys, usually an Inbox.

        instance: unique and stable name of this replica, if it has one: it keeps its partitions over a quick restart.
        gather_ms: how long the broker holds messages back so that more are applied together; 0 for the least delay.
        """
        self._client_settings = client_settings(bootstrap, options, f"{group} consumer")
        self._group = group
        self._topics = list(topics)
        self._dead_letter_topics = {dead_letters.topic_of(topic, group): topic for topic in topics}
        self._handlers = {topic: GroupCommit(handler) for topic in topics}
        # A producer of its own: a dead letter that is not acknowledged must not delay the relay.
        self._producer = Producer(bootstrap, name=f"{group} dead letters", options=options)
        self._parking = parking
        self._instance = instance
        self._gather_ms = gather_ms
        self._partitions: dict[PartitionId, Partition] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._next_commit = self._next_measure = 0.0
        self._missing: list[str] = []

    @property
    def ready(self) -> bool:
        """False while a dead-letter topic is known not to exist; nothing is consumed then."""
        return not self._missing

    @property
    def topics(self) -> Sequence[str]:
        """The topics it subscribes to, without its dead-letter topics."""
        return self._topics

    def start(self) -> None:
        """Starts the thread; it connects in the background."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._stopping.clear()
            self._producer.start()
            self._thread = threading.Thread(target=self._run, name=f"{self._group} consumer", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Waits for the current batches, commits, leaves the group; idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            await asyncio.to_thread(thread.join, _CLOSE_SECONDS)
            await self._producer.close()

    # Everything below runs in the thread.

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set() and not self._loop.is_closed():
            begun = time.monotonic()
            try:
                self._consume()
            except Exception:  # the thread makes a new client after any error
                failures = 1 if time.monotonic() - begun >= _WORKED_SECONDS else failures + 1
                log.exception("consumer of %s restarts", self._group)
                self._stopping.wait(backoff(failures))

    def _consume(self) -> None:
        settings = _SETTINGS | self._client_settings | {"group.id": self._group, "on_commit": self._committed}
        if self._instance:
            settings["group.instance.id"] = self._instance
        if self._gather_ms:
            settings |= {"fetch.min.bytes": _GATHERED_BYTES, "fetch.wait.max.ms": self._gather_ms}
        client = confluent_kafka.Consumer(settings)
        try:
            self._await_dead_letter_topics(client)
            client.subscribe(
                [*self._topics, *self._dead_letter_topics],
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            while not self._stopping.is_set():
                self._step(client)
        finally:
            client.close()
            self._abandon([TopicPartition(*partition_id) for partition_id in self._partitions])

    def _await_dead_letter_topics(self, client: confluent_kafka.Consumer) -> None:
        """Waits until they exist: without one, a message that cannot be applied would block its partition for ever."""
        while not self._stopping.is_set():
            try:
                found = client.list_topics(timeout=_METADATA_SECONDS).topics
            except KafkaException:  # Kafka is unavailable, as its client's errors report: nothing is known
                continue
            missing = sorted(self._dead_letter_topics.keys() - found.keys())
            if missing and missing != self._missing:
                log.error(
                    "%s consumes nothing: there is no topic %s for its dead letters. Declare what it consumes in"
                    " services.toml and run `make up`, or make the topic with retention.ms=-1",
                    self._group,
                    ", ".join(missing),
                )
            self._missing = missing
            if not missing:
                return
            self._stopping.wait(_LOOK_UP_SECONDS)

    def _step(self, client: confluent_kafka.Consumer) -> None:
        """Waits for a message, then takes those that have been fetched: no message waits for a batch to fill."""
        first = client.poll(_POLL_SECONDS)
        if first is not None:
            owner = self._owner(first)
            others = client.consume(BATCH - 1, 0)
            # A partition that was revoked and assigned again meanwhile is fetched again from before this message.
            self._hand_over([first, *others] if self._owner(first) is owner else others)
        self._pause_and_resume(client)
        now = time.monotonic()
        if now >= self._next_commit:
            self._commit(client, self._partitions.values(), wait=False)
            self._next_commit = now + _COMMIT_SECONDS
        if now >= self._next_measure:
            self._measure(client)
            self._next_measure = now + _MEASURE_SECONDS

    def _hand_over(self, records: Iterable[confluent_kafka.Message]) -> None:
        messages: list[Message] = []
        for record in records:
            error = record.error()
            if error is None:
                messages.append(dead_letters.message_from(record))
            elif error.fatal():
                raise KafkaException(error)
            else:
                self._client_settings["error_cb"](error)
        messages.sort(key=lambda message: message[:3])
        for partition_id, found in groupby(messages, key=lambda message: PartitionId(message.topic, message.partition)):
            partition = self._partitions.get(partition_id)
            if partition is not None:
                self._loop.call_soon_threadsafe(partition.put, list(found))

    def _owner(self, record: confluent_kafka.Message) -> Partition | None:
        return self._partitions.get(PartitionId(record.topic() or "", record.partition() or 0))

    def _pause_and_resume(self, client: confluent_kafka.Consumer) -> None:
        for partition_id, partition in self._partitions.items():
            if not partition.paused and partition.must_pause:
                client.pause([TopicPartition(*partition_id)])
                partition.paused = True
            elif partition.paused and partition.may_resume:
                client.resume([TopicPartition(*partition_id)])
                partition.paused = False

    def _commit(self, client: confluent_kafka.Consumer, partitions: Iterable[Partition], *, wait: bool) -> None:
        offsets = []
        for partition in partitions:
            if partition.position is not None and partition.position != partition.committed:
                offsets.append(TopicPartition(*partition.id, partition.position))
                partition.committed = partition.position
        if not offsets:
            return
        try:
            if wait:
                client.commit(offsets=offsets, asynchronous=False)
            else:
                client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as failure:
            self._committed(cast(KafkaError, failure.args[0]), offsets)

    def _committed(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        """Handles the outcome of a commit; the next one repeats what failed."""
        for offset in offsets:
            reason = error or offset.error
            if reason is not None:
                self._client_settings["error_cb"](reason)
                partition = self._partitions.get(PartitionId(offset.topic, offset.partition))
                if partition is not None:
                    partition.committed = None

    def _measure(self, client: confluent_kafka.Consumer) -> None:
        self._look_up(client)
        now = time.time()
        for (topic, number), partition in self._partitions.items():
            labels: dict[str, str | int] = {"topic": topic, "partition": number, "group": self._group}
            _, end = client.get_watermark_offsets(TopicPartition(topic, number), cached=True)
            position = partition.committed if partition.position is None else partition.position
            _lag.set(max(0, end - position) if position is not None else partition.queued, labels)
            oldest = partition.oldest
            _lag_seconds.set(max(0.0, now - oldest / 1000) if oldest is not None else 0.0, labels)

    def _look_up(self, client: confluent_kafka.Consumer) -> None:
        """Reads the group's committed offsets: lag counts from them until a partition has delivered something."""
        new = [one for one, found in self._partitions.items() if found.position is found.committed is None]
        if not new:
            return
        with contextlib.suppress(KafkaException):  # Kafka is unavailable: the next measurement asks again
            found = client.committed([TopicPartition(*one) for one in new], timeout=_LOOK_UP_SECONDS)
            for partition_id, committed in zip(new, found, strict=True):
                if committed.offset >= 0:
                    self._partitions[partition_id].committed = committed.offset

    def _assigned(self, _: confluent_kafka.Consumer, assigned: Sequence[TopicPartition]) -> None:
        for one in assigned:
            partition = Partition(PartitionId(one.topic, one.partition), self._deliverer(one.topic))
            self._partitions[partition.id] = partition
            self._loop.call_soon_threadsafe(partition.start)

    def _deliverer(self, topic: str) -> Deliverer:
        origin = self._dead_letter_topics.get(topic)
        if origin is None:
            return Delivery(
                topic, group=self._group, handler=self._handlers[topic], parking=self._parking, publisher=self._producer
            )
        return Replays(
            origin,
            handler=self._handlers[origin],
            parking=self._parking,
            publisher=self._producer,
            read_key=partial(dead_letters.read_partition, self._client_settings),
        )

    def _revoked(self, client: confluent_kafka.Consumer, revoked: Sequence[TopicPartition]) -> None:
        """Ends the delivery of these partitions and commits what was delivered.

        A batch that takes longer than some seconds may still be applied: handlers drop duplicates.
        """
        left = self._forget(revoked)
        leaving = asyncio.run_coroutine_threadsafe(_leave(left, _LEAVE_SECONDS), self._loop)
        leaving.result(_LEAVE_SECONDS * 2)
        self._commit(client, left, wait=True)
        _unpause(client, left)

    def _lost(self, client: confluent_kafka.Consumer, lost: Sequence[TopicPartition]) -> None:
        """Ends the delivery of partitions that another member already has: nothing may be committed."""
        _unpause(client, self._abandon(lost))

    def _abandon(self, lost: Sequence[TopicPartition]) -> list[Partition]:
        left = self._forget(lost)
        if left:
            asyncio.run_coroutine_threadsafe(_leave(left, 0), self._loop)
        return left

    def _forget(self, forgotten: Sequence[TopicPartition]) -> list[Partition]:
        found = [self._partitions.pop(PartitionId(one.topic, one.partition), None) for one in forgotten]
        return [partition for partition in found if partition is not None]


def _unpause(client: confluent_kafka.Consumer, left: Iterable[Partition]) -> None:
    """Resumes partitions that this member leaves: librdkafka would keep them paused when they are assigned again."""
    paused = [TopicPartition(*partition.id) for partition in left if partition.paused]
    try:
        client.resume(paused)
    except KafkaException as error:
        log.warning("partitions that were revoked stay paused: %s", error)


async def _leave(partitions: Sequence[Partition], seconds: float) -> None:
    await asyncio.gather(*(partition.leave(seconds) for partition in partitions))
