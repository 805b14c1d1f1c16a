"""Publishing to Kafka: librdkafka's producer, called on the event loop without blocking it.

librdkafka has threads of its own, and none of its calls here blocks. It takes the interpreter's lock for every single
acknowledgement; a thread that waited for them would compete with the event loop for that lock, up to 5 ms each time. So
the event loop itself polls for acknowledgements, at intervals of two milliseconds or more.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.settings import pairs
from mesh.runtime.telemetry import BOUNDS, meter

log = logging.getLogger(__name__)

DEADLINE = 5.0
"""Seconds after which `publish` gives up; half of the relay's lease."""
_QUIET_SECONDS = 10.0
_FULL_QUEUE_SECONDS = 0.01
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
"""Poll interval for acknowledgements, seconds."""
_MESSAGES_PER_TURN = 500
"""Messages that are produced before other tasks run: about 3 ms."""

_round_trip = meter.create_histogram(
    "focusmesh.producer.acknowledgement", unit="s", explicit_bucket_boundaries_advisory=list(BOUNDS)
)


class DeliveryTimeout(Exception):  # noqa: N818 (not a failure: the messages may have arrived)
    """Not every message was acknowledged before the deadline; some may have been written."""


class ProducerRecord(NamedTuple):
    """One message to publish."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes]]


def client_settings(bootstrap: str, options: str, name: str) -> dict[str, Any]:
    """Settings that all Kafka clients share. options: further librdkafka settings, `name=value;name=value`."""
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "client.id": name,
        "socket.nagle.disable": True,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        # Connection failures are reported by error_cb, at a limited rate; librdkafka would log every attempt.
        "log_level": 2,
        "logger": log,
        "error_cb": _ErrorLog(name),
    }
    return settings | dict(pairs(options))


class Producer(PeriodicTask):
    """Publishes at least once, in the order of the calls; the caller retries what is not acknowledged in time.

    Its periodic pass polls an idle client, whose errors would otherwise accumulate in memory.
    """

    shortest_wait: ClassVar[float] = 1.0
    longest_wait: ClassVar[float] = 1.0

    def __init__(self, bootstrap: str, *, name: str, options: str = "") -> None:
        """name: of the service, for the broker's log."""
        super().__init__("kafka producer")
        self._settings = client_settings(bootstrap, options, name) | {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 1,
            "compression.type": "lz4",
            "message.timeout.ms": 0,
            # A later message of the same key that is in flight must not overtake a rejected one.
            "enable.gapless.guarantee": True,
            # Report a missing topic before the deadline, not after half a minute.
            "topic.metadata.propagation.max.ms": 2000,
        }
        self._client: confluent_kafka.Producer | None = None
        self._turn = asyncio.Lock()

    async def publish(self, messages: Sequence[ProducerRecord], deadline: float = DEADLINE) -> list[KafkaError | None]:
        """Sends in order, one call after the other; returns for each message None, or its error.

        The broker rejects a whole batch for one of its messages, and everything in flight fails with it
        (`is_message_error`). Later messages of a rejected message's key are not sent and get the same error. Raises
        DeliveryTimeout when not every message was acknowledged within `deadline` seconds.
        """
        if self._task is None:
            raise DeliveryTimeout("the producer does not run")
        batch, started = _Batch(messages), time.monotonic()
        try:
            async with asyncio.timeout(deadline), self._turn:
                await self._send(batch)
        except TimeoutError:
            raise DeliveryTimeout(f"Kafka did not acknowledge {len(messages)} messages within {deadline:g} s") from None
        _round_trip.record(time.monotonic() - started)
        return batch.outcome

    async def run_once(self) -> int:
        """Polls the client; it connects with the first message."""
        async with self._turn:
            if self._client is not None and not _poll(self._client):
                self._discard(self._client)
        return 0

    async def close(self, grace: float = 0.0) -> None:
        """Waits for the running call, then disconnects."""
        await super().close(grace)
        async with self._turn:
            if self._client is not None:
                client, self._client = self._client, None
                await asyncio.to_thread(_close_client, client)

    async def _send(self, batch: "_Batch") -> None:
        if self._client is None:
            self._client = confluent_kafka.Producer(self._settings)
        client = self._client
        healthy = False
        try:
            await batch.produce(client)
            healthy = await batch.acknowledged(client)
        finally:
            if not healthy:
                self._discard(client)

    def _discard(self, client: confluent_kafka.Producer) -> None:
        """Drops the client and its messages in flight: their caller gets an error, and retries with a new client."""
        self._client = None
        # Before a new client sends. purge(blocking=True) does not block, despite its name.
        client.purge(blocking=True)
        # Its threads may hang resolving a name; neither the event loop nor the exit of the process waits for them.
        threading.Thread(target=_close_client, args=(client,), name="kafka producer's end", daemon=True).start()


class _Batch:
    """The messages of one call, in flight."""

    def __init__(self, messages: Sequence[ProducerRecord]) -> None:
        self.messages = messages
        self.missing = len(messages)
        self.outcome: list[KafkaError | None] = [None] * len(messages)

    async def produce(self, client: confluent_kafka.Producer) -> None:
        """Passes all messages to librdkafka."""
        rejected: dict[str | bytes | None, KafkaError] = {}
        for index, message in enumerate(self.messages):
            if index % _MESSAGES_PER_TURN == _MESSAGES_PER_TURN - 1:
                await asyncio.sleep(0)
            if message.key in rejected:
                self.acknowledge(index, rejected[message.key])
                continue
            try:
                await self._produce_one(client, index, message)
            except KafkaException as failure:
                rejected[message.key] = cast(KafkaError, failure.args[0])
                self.acknowledge(index, rejected[message.key])

    async def _produce_one(self, client: confluent_kafka.Producer, index: int, message: ProducerRecord) -> None:
        """Raises KafkaException when librdkafka rejects the message."""
        while True:
            try:
                client.produce(
                    message.topic,
                    message.value,
                    message.key,
                    headers=list(message.headers),
                    on_delivery=partial(self.acknowledge, index),
                )
            except BufferError:
                await asyncio.sleep(_FULL_QUEUE_SECONDS)
                _poll(client)
            else:
                return

    async def acknowledged(self, client: confluent_kafka.Producer) -> bool:
        """Waits for every acknowledgement; returns whether the client is still usable.

        A fatal error is raised between delivery reports; the remaining ones still have to be polled.
        """
        healthy, pause = True, _SHORTEST_PAUSE
        while self.missing:
            await asyncio.sleep(pause)
            pause = min(pause * 1.25, _LONGEST_PAUSE)
            healthy &= _poll(client)
        return healthy and not any(error is not None and _is_fatal(error) for error in self.outcome)

    def acknowledge(self, index: int, error: KafkaError | None, _: object = None) -> None:
        """Delivery report callback of librdkafka: the only sign that a message arrived."""
        self.missing -= 1
        self.outcome[index] = error


def is_message_error(error: KafkaError) -> bool:
    """Whether the message itself was rejected; False when only its client failed, so that a retry may succeed."""
    purged = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
    return not _is_fatal(error) and error.code() not in purged


def _is_fatal(error: KafkaError) -> bool:
    return error.fatal() or error.code() in (KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE)


def _poll(client: confluent_kafka.Producer) -> bool:
    """Runs the callbacks that are due; returns False when the client is broken for good."""
    try:
        client.poll(0)
    except (KafkaException, SystemError) as error:
        log.warning("a fresh Kafka client is needed: %s", error.__cause__ or error)
        return False
    return True


def _close_client(client: Any) -> None:
    """Disconnects; blocks. client: Any, because the type stubs lack `close`."""
    with contextlib.suppress(KafkaException, SystemError):
        client.flush(0)
    with contextlib.suppress(KafkaException, SystemError):
        client.close()


class _ErrorLog:
    """Logs librdkafka's errors, each code at most once in ten seconds: librdkafka recovers by itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logged: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._logged.get(error.code(), -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._logged[error.code()] = now
            log.warning("kafka client %s: %s", self._name, error.str())
