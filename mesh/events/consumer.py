"""The consumer: brings events of other services to an effect, at least once, in order per key.

One thread owns librdkafka's consumer: it polls, pauses, commits and closes. Each partition has a task on the event
loop; partitions run side by side, each in order. The offset is committed after the effect, so what a crash interrupts
comes again; the effect drops what it knows (`mesh/events/inbox.py`).
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol, cast

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from mesh.events import dead_letters
from mesh.events.delivery import Delivery, EventHandler, Parking, Replays
from mesh.events.envelope import Message
from mesh.events.group_commit import GroupCommit
from mesh.events.producer import Producer, client_settings
from mesh.runtime.lifecycle import Component, backoff
from mesh.runtime.telemetry import meter

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
_BATCH = 500
_PAUSE_ABOVE = 2000
_PAUSE_ABOVE_BYTES = 8 * 1024 * 1024
_RESUME_BELOW = 500
_COMMIT_SECONDS = 0.2
_LEAVE_SECONDS = 5.0
_MEASURE_SECONDS = 5.0
_LOOK_UP_SECONDS = 1.0
_CLOSE_SECONDS = 20.0
_WORKED_SECONDS = 60.0
"""A client that ran so long had worked: its failure is the first of a new row."""

_lag = meter.create_gauge("focusmesh.consumer.lag", unit="{message}")
_lag_seconds = meter.create_gauge("focusmesh.consumer.lag_seconds", unit="s")

_SETTINGS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    # The newer `consumer` protocol gives the partitions of a killed member away only after 45 s.
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1500,
    "fetch.error.backoff.ms": 100,
    "queued.max.messages.kbytes": 16384,
    "topic.metadata.refresh.interval.ms": 10_000,
}

_Place = tuple[str, int]
"""Topic and partition."""


class _Deliverer(Protocol):
    """What happens to the messages of a partition."""

    @property
    def waiting(self) -> bool:
        """Whether it waits before it tries again."""

    async def deliver(self, messages: Sequence[Message]) -> None:
        """Returns when all are dealt with."""


class Consumer(Component):
    """One member of a consumer group."""

    def __init__(
        self,
        bootstrap: str,
        *,
        group: str,
        topics: Sequence[str],
        effect: EventHandler,
        parking: Parking | None = None,
        options: str = "",
        instance: str = "",
    ) -> None:
        """group: name of the service. parking: keeps parked keys, as a rule an Inbox.

        instance: unique and lasting name of this replica, where it has one: restarted at once it keeps its partitions.
        """
        self._client_settings = client_settings(bootstrap, options, f"{group} consumer")
        self._group = group
        self._topics = list(topics)
        self._dead_letter_topics = {dead_letters.topic_of(topic, group): topic for topic in topics}
        self._effects = {topic: GroupCommit(effect) for topic in topics}
        # Of its own: a dead letter that is not acknowledged must not hold up the relay.
        self._producer = Producer(bootstrap, name=f"{group} dead letters", options=options)
        self._parking = parking
        self._instance = instance
        self._partitions: dict[_Place, _Partition] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._next_commit = self._next_measure = 0.0

    @property
    def topics(self) -> Sequence[str]:
        """What it subscribes to, without its dead-letter topics."""
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
        """Lets batches in work end, commits, leaves the group; idempotent."""
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
            except Exception:  # the thread outlives every error of its client
                failures = 1 if time.monotonic() - begun >= _WORKED_SECONDS else failures + 1
                log.exception("consumer of %s starts again", self._group)
                self._stopping.wait(backoff(failures))

    def _consume(self) -> None:
        settings = _SETTINGS | self._client_settings | {"group.id": self._group, "on_commit": self._committed}
        if self._instance:
            settings["group.instance.id"] = self._instance
        client = confluent_kafka.Consumer(settings)
        try:
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
            self._abandon([TopicPartition(*place) for place in self._partitions])

    def _step(self, client: confluent_kafka.Consumer) -> None:
        """Waits for a message, then takes along what is there already: no message waits for a batch to fill."""
        first = client.poll(_POLL_SECONDS)
        if first is not None:
            owner = self._owner(first)
            others = client.consume(_BATCH - 1, 0)
            # A partition that went and came back meanwhile begins again before this message.
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
        for place, found in groupby(messages, key=lambda message: (message.topic, message.partition)):
            partition = self._partitions.get(place)
            if partition is not None:
                self._loop.call_soon_threadsafe(partition.put, list(found))

    def _owner(self, record: confluent_kafka.Message) -> "_Partition | None":
        return self._partitions.get((record.topic() or "", record.partition() or 0))

    def _pause_and_resume(self, client: confluent_kafka.Consumer) -> None:
        for place, partition in self._partitions.items():
            if not partition.paused and (partition.full or partition.deliverer.waiting):
                client.pause([TopicPartition(*place)])
                partition.paused = True
            elif partition.paused and partition.queued < _RESUME_BELOW and not partition.deliverer.waiting:
                client.resume([TopicPartition(*place)])
                partition.paused = False

    def _commit(self, client: confluent_kafka.Consumer, partitions: "Iterable[_Partition]", *, wait: bool) -> None:
        offsets = []
        for partition in partitions:
            if partition.position is not None and partition.position != partition.committed:
                offsets.append(TopicPartition(*partition.place, partition.position))
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

    def _committed(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """What became of a commit; the next round commits again what could not be."""
        for place in places:
            reason = error or place.error
            if reason is not None:
                self._client_settings["error_cb"](reason)
                partition = self._partitions.get((place.topic, place.partition))
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
        """Where the group stands: the lag of partitions counts from there until something of them is delivered."""
        new = [place for place, found in self._partitions.items() if found.position is found.committed is None]
        if not new:
            return
        with contextlib.suppress(KafkaException):  # Kafka is away: another time
            responses = client.committed([TopicPartition(*place) for place in new], timeout=_LOOK_UP_SECONDS)
            for place, response in zip(new, responses, strict=True):
                if response.offset >= 0:
                    self._partitions[place].committed = response.offset

    def _assigned(self, _: confluent_kafka.Consumer, places: Sequence[TopicPartition]) -> None:
        for place in places:
            partition = _Partition((place.topic, place.partition), self._deliverer(place.topic))
            self._partitions[partition.place] = partition
            self._loop.call_soon_threadsafe(partition.start)

    def _deliverer(self, topic: str) -> _Deliverer:
        origin = self._dead_letter_topics.get(topic)
        if origin is None:
            return Delivery(
                topic, group=self._group, effect=self._effects[topic], parking=self._parking, publisher=self._producer
            )
        return Replays(
            origin,
            effect=self._effects[origin],
            parking=self._parking,
            publisher=self._producer,
            read_partition=lambda topic, number: dead_letters.read_partition(self._client_settings, topic, number),
        )

    def _revoked(self, client: confluent_kafka.Consumer, places: Sequence[TopicPartition]) -> None:
        """Nothing of these partitions is begun any more when it returns, and what was done is committed.

        What is at work after some seconds may still have its effect: effects know what comes twice.
        """
        left = self._forget(places)
        leaving = asyncio.run_coroutine_threadsafe(_leave(left, _LEAVE_SECONDS), self._loop)
        leaving.result(_LEAVE_SECONDS * 2)
        self._commit(client, left, wait=True)
        _unpause(client, left)

    def _lost(self, client: confluent_kafka.Consumer, places: Sequence[TopicPartition]) -> None:
        """Another member has them already: nothing may be committed."""
        _unpause(client, self._abandon(places))

    def _abandon(self, places: Sequence[TopicPartition]) -> "list[_Partition]":
        left = self._forget(places)
        if left:
            asyncio.run_coroutine_threadsafe(_leave(left, 0), self._loop)
        return left

    def _forget(self, places: Sequence[TopicPartition]) -> "list[_Partition]":
        found = [self._partitions.pop((place.topic, place.partition), None) for place in places]
        return [partition for partition in found if partition is not None]


class _Partition:
    """The messages of one partition on their way. `put` to `leave` belong to the event loop; the thread only reads."""

    def __init__(self, place: _Place, deliverer: _Deliverer) -> None:
        self.place = place
        self.deliverer = deliverer
        self.position: int | None = None
        """The offset to go on from, once anything was delivered."""
        self.committed: int | None = None
        self.paused = False
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._leaving = False
        self._task: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """How many messages are not dealt with."""
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether nothing further should be fetched."""
        return self.queued > _PAUSE_ABOVE or self._bytes > _PAUSE_ABOVE_BYTES

    @property
    def oldest(self) -> int | None:
        """When the oldest of them was taken by the broker, milliseconds since the epoch."""
        try:
            return self._messages[0].time
        except IndexError:
            return None

    def start(self) -> None:
        """Begins to deliver, unless it was left before it could begin."""
        if not self._leaving:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"deliver {self.place}")

    def put(self, messages: Sequence[Message]) -> None:
        """Queues messages."""
        self._messages.extend(messages)
        self._bytes += sum(map(_size, messages))
        self._arrived.set()

    async def leave(self, seconds: float) -> None:
        """Ends after the batch in work, at once when it only waits; gives up after `seconds`."""
        self._leaving = True
        self._arrived.set()
        if self._task is not None:
            if not self.deliverer.waiting:
                await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        failures = 0
        while not self._leaving:
            if not self._messages:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = [self._messages[index] for index in range(min(_BATCH, len(self._messages)))]
            try:
                await self.deliverer.deliver(batch)
            except Exception:  # nothing may be passed over: the batch is tried again
                failures += 1
                log.exception("delivery from %s/%d failed", *self.place)
                await asyncio.sleep(backoff(failures))
                continue
            failures = 0
            for message in batch:
                self._messages.popleft()
                self._bytes -= _size(message)
            self.position = batch[-1].offset + 1


def _unpause(client: confluent_kafka.Consumer, left: "Iterable[_Partition]") -> None:
    """librdkafka keeps a partition paused that this member leaves, also when it comes back."""
    paused = [TopicPartition(*partition.place) for partition in left if partition.paused]
    try:
        client.resume(paused)
    except KafkaException as error:
        log.warning("partitions that were left stay paused: %s", error)


def _size(message: Message) -> int:
    return len(message.value or b"")


async def _leave(partitions: "Sequence[_Partition]", seconds: float) -> None:
    await asyncio.gather(*(partition.leave(seconds) for partition in partitions))
