"""Delivery: applies the messages of one partition in order, whatever fails.

A transient failure (an unavailable dependency, a write conflict) is retried without limit. A message that fails for
another reason is isolated by halving its batch, tried five times and dead-lettered; its key is parked, so that later
messages of the key follow it in order while other keys go on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol, TypeVar

import psycopg
from confluent_kafka import KafkaError, KafkaException

from mesh.database.pool import WriteConflict
from mesh.events import dead_letters
from mesh.events.dead_letters import Command, ReadTimeout
from mesh.events.envelope import ConsumedEvent, Message, read
from mesh.events.producer import DeliveryTimeout, ProducerRecord
from mesh.runtime import clock, redis_errors
from mesh.runtime.errors import Conflict, DeadlineExceeded, ResourceExhausted, Unavailable
from mesh.runtime.lifecycle import backoff
from mesh.runtime.slices import in_slices
from mesh.runtime.telemetry import BOUNDS, meter

log = logging.getLogger(__name__)

TRIES = 5
Response = TypeVar("Response")

_dead_letters = meter.create_counter("focusmesh.consumer.dead_letters", unit="{message}")
_commit_to_effect = meter.create_histogram(
    "focusmesh.consumer.commit_to_effect", unit="s", explicit_bucket_boundaries_advisory=list(BOUNDS)
)

_TRANSIENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    KafkaException,
    DeliveryTimeout,
    ReadTimeout,
    Unavailable,
    ResourceExhausted,
    DeadlineExceeded,
    Conflict,
    WriteConflict,
    OSError,
)


class EventHandler(Protocol):
    """What a service does with events; must be idempotent, because events are delivered at least once."""

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        """Applies a batch of events of one topic atomically."""


class Parking(Protocol):
    """Stores parked keys; implemented by `Inbox` in Postgres."""

    async def parked_keys(self, topic: str) -> set[str]:
        """Keys whose messages go to the dead letters."""

    async def park(self, message: Message, reason: str) -> None:
        """Parks the key of a message."""

    def while_parked(self, topic: str, key: str) -> AbstractAsyncContextManager[bool]:
        """Whether the key is parked; it stays so within the block."""

    async def replay(
        self, topic: str, key: str, letters: Callable[[], Awaitable[Sequence[ConsumedEvent]]]
    ) -> Sequence[ConsumedEvent]:
        """Applies the letters and unparks the key, both or neither."""


class Publisher(Protocol):
    """What this module needs of the producer."""

    async def publish(self, messages: Sequence[ProducerRecord]) -> list[KafkaError | None]:
        """Sends; returns for each message None, or its error."""


class ReadKey(Protocol):
    """Reads the records that a partition of a dead-letter topic has of a key, of all keys when it is None."""

    def __call__(self, topic: str, partition: int, *, key: bytes | None) -> Sequence[Message]:
        """Blocks."""


def is_transient(error: BaseException) -> bool:
    """Whether a failure is transient: not when a value exceeds a limit of Postgres (class 54)."""
    if isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("54"):
        return False
    return isinstance(error, _TRANSIENT) or redis_errors.is_temporary(error)


class _Retry:
    """Retries transient failures without limit."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.waiting = False
        """Whether it backs off, so that no more messages need be fetched."""

    async def until_done(self, action: Callable[[], Awaitable[Response]]) -> Response:
        failures = 0
        while True:
            try:
                done = await action()
            except Exception as error:
                if not is_transient(error):
                    raise
                failures += 1
                if failures == 1:
                    log.warning("%s waits: %s: %s", self._name, type(error).__name__, error)
                await self.pause(backoff(failures))
            else:
                if failures:
                    log.info("%s goes on after %d tries", self._name, failures)
                return done

    async def pause(self, seconds: float) -> None:
        self.waiting = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self.waiting = False


class Delivery:
    """One partition of a topic."""

    def __init__(
        self, topic: str, *, group: str, handler: EventHandler, parking: Parking | None, publisher: Publisher
    ) -> None:
        """parking: None where order after a dead letter does not matter; later messages of its key are then applied."""
        self._topic = topic
        self._group = group
        self._handler = handler
        self._parking = parking
        self._publisher = publisher
        self._parked: set[str] | None = None
        self._labels = {"topic": topic, "group": group}
        self._retry = _Retry(f"{group} on {topic}")

    @property
    def waiting(self) -> bool:
        """Whether it backs off before a retry."""
        return self._retry.waiting

    async def deliver(self, messages: Sequence[Message]) -> None:
        """Returns when every message is applied or dead-lettered."""
        reason: Exception | None = None
        for attempt in range(1, TRIES + 1):
            try:
                return await self._retry.until_done(partial(self._apply, messages))
            except Exception as error:  # noqa: BLE001 (a handler may raise anything)
                reason = error
            if len(messages) > 1:
                middle = len(messages) // 2
                await self.deliver(messages[:middle])
                return await self.deliver(messages[middle:])
            if attempt < TRIES:
                await self._retry.pause(backoff(attempt, least=0.1, most=1.0))
        await self._retry.until_done(partial(self._give_up, messages[0], reason))
        return None

    async def _apply(self, messages: Sequence[Message]) -> None:
        parked = await self._parked_keys()
        followers = [message for message in messages if message.key_text in parked]
        fresh = [message for message in messages if message.key_text not in parked]
        if fresh:
            await self._handler.apply(events := await in_slices(map(read, fresh)))
            now = clock.now()
            for event in events:
                _commit_to_effect.record(max(0, now - event.time) / clock.SECOND, self._labels)
        for message in followers:
            await self._follow(message, parked)

    async def _parked_keys(self) -> set[str]:
        """Loaded once, because only this partition's task parks its keys."""
        if self._parked is None:
            self._parked = await self._parking.parked_keys(self._topic) if self._parking else set()
        return self._parked

    async def _follow(self, message: Message, parked: set[str]) -> None:
        """Adds a message of a parked key to its dead letters; applies it when the key was released meanwhile."""
        if self._parking is not None:
            async with self._parking.while_parked(self._topic, message.key_text) as still:
                if still:
                    await self._publish(message, "its key is parked: it follows an earlier dead letter")
                    return
        parked.discard(message.key_text)
        await self._handler.apply([read(message)])

    async def _give_up(self, message: Message, error: Exception | None) -> None:
        reason = f"{type(error).__name__}: {error}"
        await self._publish(message, reason)
        if self._parking is not None and message.key is not None:
            await self._parking.park(message, reason)
            (await self._parked_keys()).add(message.key_text)
        log.error(
            "dead letter from %s/%d/%d: %s",
            message.topic,
            message.partition,
            message.offset,
            reason,
            exc_info=error,
            extra={"fields": {"key": message.key_text}},
        )

    async def _publish(self, message: Message, reason: str) -> None:
        await _send(self._publisher, dead_letters.letter(message, self._group, reason))
        _dead_letters.add(1, self._labels)


class Replays:
    """One partition of a dead-letter topic: executes the commands that operators publish there."""

    def __init__(
        self,
        topic: str,
        *,
        handler: EventHandler,
        parking: Parking | None,
        publisher: Publisher,
        read_key: "ReadKey",
    ) -> None:
        """topic: of the original messages. read_key: reads what a dead-letter partition has of a key; may block."""
        self._topic = topic
        self._handler = handler
        self._parking = parking
        self._publisher = publisher
        self._read_key = read_key
        self._retry = _Retry(f"replay of {topic}")

    @property
    def waiting(self) -> bool:
        """Whether it backs off before a retry."""
        return self._retry.waiting

    async def deliver(self, messages: Sequence[Message]) -> None:
        """Executes the commands among the records and ignores letters and responses."""
        for message in messages:
            command = dead_letters.command_in(message)
            if command is not None:
                await self._retry.until_done(partial(self._replay, message, command))

    async def _replay(self, message: Message, command: Command) -> None:
        through = message.offset

        async def letters() -> list[ConsumedEvent]:
            nonlocal through
            records = await asyncio.to_thread(self._read_key, message.topic, message.partition, key=message.key)
            found = dead_letters.outstanding(record for record in records if record.key == message.key)
            through = max([through, *(letter.message.offset for letter in found)])
            return [read(letter.message, letter.topic) for letter in found if letter.message.offset not in command.skip]

        try:
            if self._parking is not None:
                count = len(await self._parking.replay(self._topic, message.key_text, letters))
            else:
                events = await letters()
                await self._handler.apply(events)
                count = len(events)
        except Exception as error:
            if is_transient(error):
                raise
            response = dead_letters.refused(message, command, f"{type(error).__name__}: {error}")
            log.warning("replay of key %s refused: %s", message.key_text, error)
        else:
            response = dead_letters.released(message, command, through)
            log.info("replayed %d messages of key %s", count, message.key_text)
        await _send(self._publisher, response)


async def _send(publisher: Publisher, message: ProducerRecord) -> None:
    """Raises DeliveryTimeout also when Kafka rejects the record: a dead letter is never dropped."""
    error = (await publisher.publish([message]))[0]
    if error is not None:
        raise DeliveryTimeout(f"{message.topic} refuses a record: {error.str()}")
