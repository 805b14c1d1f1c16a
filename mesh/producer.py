"""Publishing to Kafka: librdkafka's producer, owned by one thread.

The thread sends what is queued, waits until all of it is acknowledged, and sends what came meanwhile: under load calls
share a round trip, and a lone call waits for nobody. Acknowledgements are counted in the thread, not awaited singly.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from mesh.durations import BOUNDS
from mesh.telemetry import meter

log = logging.getLogger(__name__)

DEADLINE = 5.0
"""Seconds after which a publication is given up; half of the relay's lease."""
_QUIET_SECONDS = 10.0
_IDLE_SECONDS = 1.0
_FULL_QUEUE_SECONDS = 0.05

_round_trip = meter.create_histogram(
    "focusmesh.producer.acknowledgement", unit="s", explicit_bucket_boundaries_advisory=list(BOUNDS)
)


class Undelivered(Exception):  # noqa: N818 (it may have arrived: the caller sends it again)
    """Not acknowledged before the deadline; some of it may have been written."""


class Outgoing(NamedTuple):
    """One message."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes]]


def client_settings(bootstrap: str, options: str, name: str) -> dict[str, Any]:
    """What every Kafka client here is given. options: further librdkafka settings, `name=value;name=value`."""
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "client.id": name,
        "socket.nagle.disable": True,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        # Connection failures come through error_cb, once in a while; librdkafka itself writes a line for every attempt.
        "log_level": 2,
        "logger": log,
        "error_cb": _ErrorLog(name),
    }
    for option in filter(None, map(str.strip, options.split(";"))):
        setting, _, value = option.partition("=")
        settings[setting] = value
    return settings


class Producer:
    """At least once, in the order of the calls; what is not acknowledged in time is the caller's to send again."""

    def __init__(self, bootstrap: str, *, name: str, options: str = "") -> None:
        """name: of the service, seen in the broker's log."""
        self._settings = client_settings(bootstrap, options, name) | {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "lz4",
            "message.timeout.ms": 0,
            # A refused message must not be overtaken by a later one of its key that is already on the way.
            "enable.gapless.guarantee": True,
            # A topic that does not exist is told before the deadline, not after half a minute.
            "topic.metadata.propagation.max.ms": 2000,
        }
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Always: while Kafka is away events wait in the outbox."""
        return True

    def start(self) -> None:
        """Starts the thread; it connects with the first message."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kafka producer", daemon=True)
            self._thread.start()

    async def publish(self, messages: Sequence[Outgoing], deadline: float = DEADLINE) -> list[KafkaError | None]:
        """Sends in order; returns for each message None, or why the broker will never take it.

        After a refused message the later ones of its key are not sent, and carry the same error. Raises Undelivered
        when not everything was acknowledged within `deadline` seconds.
        """
        if self._thread is None:
            raise Undelivered("the producer does not run")
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        batch = _Batch(messages, started + deadline, loop.create_future(), loop)
        self._queue.put(batch)
        outcome = await batch.future
        _round_trip.record(time.monotonic() - started)
        return outcome

    async def close(self) -> None:
        """Sends what is queued and ends the thread; idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        client: confluent_kafka.Producer | None = None
        closing = False
        while not closing:
            try:
                first = self._queue.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                if client is not None and not _is_alive(client):
                    client = None
                continue
            batches, closing = self._and_what_else_is_there(first)
            if not batches:
                continue
            if client is None:
                client = confluent_kafka.Producer(self._settings)
            if not _send(client, batches):
                _discard(client)
                client = None

    def _and_what_else_is_there(self, first: "_Batch | None") -> "tuple[list[_Batch], bool]":
        batches: list[_Batch] = []
        item = first
        while item is not None:
            batches.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batches, False
        return batches, True


class _Batch:
    """The messages of one call on their way."""

    def __init__(
        self,
        messages: Sequence[Outgoing],
        deadline: float,
        future: "asyncio.Future[list[KafkaError | None]]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.messages = messages
        self.deadline = deadline
        self.future = future
        self.loop = loop
        self.missing = len(messages)
        self.outcome: list[KafkaError | None] = [None] * len(messages)

    def produce(self, client: confluent_kafka.Producer) -> None:
        refused: dict[str | bytes | None, KafkaError] = {}
        for index, message in enumerate(self.messages):
            if message.key in refused:
                self.acknowledge(index, refused[message.key])
                continue
            try:
                self._produce_one(client, index, message)
            except KafkaException as failure:
                refused[message.key] = cast(KafkaError, failure.args[0])
                self.acknowledge(index, refused[message.key])
            except TimeoutError:
                return

    def _produce_one(self, client: confluent_kafka.Producer, index: int, message: Outgoing) -> None:
        """Raises KafkaException when it can never be sent, TimeoutError when the local queue stays full."""
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
                if time.monotonic() > self.deadline:
                    raise TimeoutError from None
                client.poll(_FULL_QUEUE_SECONDS)
            else:
                return

    def acknowledge(self, index: int, error: KafkaError | None, _: object = None) -> None:
        self.missing -= 1
        self.outcome[index] = error

    @property
    def broke_the_client(self) -> bool:
        return any(error is not None and _is_fatal(error) for error in self.outcome)


def _is_fatal(error: KafkaError) -> bool:
    return error.fatal() or error.code() in (KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE)


def _send(client: confluent_kafka.Producer, batches: Sequence[_Batch]) -> bool:
    """Sends and answers the batches; returns whether the client can go on."""
    healthy = False
    try:
        for batch in batches:
            batch.produce(client)
        healthy = _flush(client, min(batch.deadline for batch in batches))
    except Exception:  # whoever waits must be answered, and the thread must live
        log.exception("sending failed")
    for batch in batches:
        answer = _fail if batch.missing else _answer
        try:
            batch.loop.call_soon_threadsafe(answer, batch)
        except RuntimeError:
            log.debug("nobody waits for the answer any more: the event loop is closed")
    return healthy and not any(batch.missing or batch.broke_the_client for batch in batches)


def _flush(client: confluent_kafka.Producer, deadline: float) -> bool:
    """Waits for every acknowledgement, without lingering; returns False when the client is broken for good.

    A fatal error is raised out of the midst of the delivery reports, whose rest is still to be heard.
    """
    healthy = True
    while (left := deadline - time.monotonic()) > 0 and len(client):
        try:
            client.flush(left)
        except (KafkaException, SystemError) as error:
            log.warning("a fresh Kafka client is needed: %s", error.__cause__ or error)
            healthy = False
    return healthy


def _answer(batch: _Batch) -> None:
    if not batch.future.done():
        batch.future.set_result(batch.outcome)


def _fail(batch: _Batch) -> None:
    if not batch.future.done():
        batch.future.set_exception(
            Undelivered(f"Kafka did not acknowledge {batch.missing} of {len(batch.messages)} messages in time")
        )


def _is_alive(client: confluent_kafka.Producer) -> bool:
    """Lets an idle client tell its errors."""
    try:
        client.poll(0)
    except (KafkaException, SystemError):
        return False
    return True


def _discard(client: confluent_kafka.Producer) -> None:
    """Drops what is on its way: its callers were told, and send it again through a fresh client."""
    with contextlib.suppress(KafkaException, SystemError):
        client.purge(blocking=False)
        client.flush(0)


class _ErrorLog:
    """librdkafka's errors, each kind at most once in ten seconds: it goes on by itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._told.get(error.code(), -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._told[error.code()] = now
            log.warning("kafka client %s: %s", self._name, error.str())
