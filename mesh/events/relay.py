"""The relay: carries committed events from the outbox to Kafka, at least once, in order per key.

Every replica has a relay; only the leader publishes, whose database session holds the service's advisory lock. A pass
reads rows, produces, waits for the acknowledgements and deletes. A relay that dies loses the lock with its session;
Postgres ends the session of one that hangs after ten seconds. A pass reads whatever rows exist and stores no position:
sequence numbers become visible out of order, so reading from the highest one would skip rows that commit late.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, NamedTuple

import psycopg
from confluent_kafka import KafkaError

from mesh.database.connection import CONNECT_OPTIONS, Connection, statement_deadline
from mesh.events.envelope import stamped
from mesh.events.outbox import SHARDS
from mesh.events.producer import DeliveryTimeout, Producer, ProducerRecord, is_message_error
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.telemetry import BOUNDS, meter

log = logging.getLogger(__name__)

_SHARDS = list(range(SHARDS))
_LEASE_MS = 10_000
"""Postgres ends the session of a relay that is silent for so long, which frees the lock."""
_PASS_SECONDS = 8.0
"""Longer than the deadline of a publication, shorter than the lease: nothing is sent once another relay may lead."""
_MOST_BYTES = 4 * 1024 * 1024
"""Per shard and pass; the last event may exceed it by its own size."""
_MEASURE_SECONDS = 5.0
_LAST_PASSES_SECONDS = 3.0
_GATHER_SECONDS, _GATHER_MANY_SECONDS = 0.015, 0.04
"""Between two passes: each costs two statements and a request per partition, however few its events."""
_MANY_A_SECOND = 700
"""Events: above this rate, gather for longer. A rate, because the longer rest itself would raise a count per pass."""
_FIRST_BLOCK_SECONDS = 30.0
_LONGEST_BLOCK_SECONDS = 600.0

_waiting_rows = meter.create_gauge("focusmesh.outbox.rows", unit="{event}")
_oldest_row = meter.create_gauge("focusmesh.outbox.oldest", unit="s")
_blocked_keys = meter.create_gauge("focusmesh.outbox.blocked_keys", unit="{key}")
_published = meter.create_counter("focusmesh.outbox.published", unit="{event}")
_publish_latency = meter.create_histogram(
    "focusmesh.outbox.publish_latency", unit="s", explicit_bucket_boundaries_advisory=list(BOUNDS)
)

_LOCK = "SELECT pg_try_advisory_lock(hashtext('focusmesh.relay'), hashtext(%s))"
_SELECT = f"""
    SELECT seq, row.shard, topics, key, value, traceparent, extract(epoch FROM created_at)::float8,
        (SELECT epoch FROM database_epoch)
    FROM unnest(%s::int[], %s::int[]) AS shard_limit (shard, most) CROSS JOIN LATERAL (
        SELECT *, sum(octet_length(value)) OVER upto - octet_length(value) AS before
        FROM outbox WHERE outbox.shard = shard_limit.shard AND key <> ALL(%s::text[])
        WINDOW upto AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
        ORDER BY seq LIMIT shard_limit.most) AS row
    WHERE before < {_MOST_BYTES}"""
_DELETE = "DELETE FROM outbox WHERE seq = ANY(%s)"
_MEASURE = """
    SELECT shard, count(*), extract(epoch FROM now() - min(created_at))::float8 FROM outbox GROUP BY shard"""


class _Row(NamedTuple):
    seq: int
    shard: int
    topics: list[str]
    key: str
    value: bytes
    traceparent: str
    committed: float
    epoch: int

    def position(self) -> tuple[int, int]:
        """Where it comes in a pass: an order per shard, which no plan of the query owes."""
        return self.shard, self.seq

    def messages(self) -> list[ProducerRecord]:
        headers = [("content-type", "application/cloudevents+json")]
        if self.traceparent:
            headers.append(("traceparent", self.traceparent))
        value = stamped(self.value, self.epoch)
        return [ProducerRecord(topic, self.key, value, headers) for topic in self.topics]


class _Block(NamedTuple):
    """A key whose next event the broker rejects; times in seconds."""

    until: float
    seconds: float


class Relay(PeriodicTask):
    """Publishes one service's outbox."""

    expected: ClassVar[tuple[type[Exception], ...]] = (
        DeliveryTimeout,
        psycopg.OperationalError,
        psycopg.errors.ReadOnlySqlTransaction,
        OSError,
    )
    longest_wait: ClassVar[float] = 0.1
    """Upper bound until the leader notices an event that another replica wrote."""
    longest_backoff: ClassVar[float] = 1.0

    def __init__(self, database_url: str, producer: Producer, *, service: str, batch: int = 500) -> None:
        """batch: rows of a shard in one pass."""
        super().__init__("relay")
        self._url = database_url
        self._producer = producer
        self._labels = {"service": service}
        self._name = f"{service} relay"
        self._batch = batch
        self._connection: Connection | None = None
        self._leads = False
        self._limits = [batch] * SHARDS
        self._blocked: dict[str, _Block] = {}
        self._next_measure = self._last_pause = 0.0

    async def run_once(self) -> int:
        """Publishes a batch of every shard that has rows, if this relay leads; returns how many events."""
        connection = await self._connected()
        try:
            if time.monotonic() >= self._next_measure:
                with statement_deadline(connection, _PASS_SECONDS):
                    await self._measure(connection)
            with statement_deadline(connection, _PASS_SECONDS):
                async with asyncio.timeout(_PASS_SECONDS + 1):
                    if not self._leads:
                        [[self._leads]] = await (await connection.execute(_LOCK, (self._name,))).fetchall()
                    if not self._leads:
                        self._blocked.clear()  # only the leader tracks blocked keys
                        return 0
                    rows, errors = await self._publish(connection)
        except Exception:
            # Releases the lock. A standby asks for it sooner than this relay does, and may reach Kafka.
            await connection.close()
            raise
        for shard, found in groupby(zip(rows, errors, strict=True), key=lambda pair: pair[0].shard):
            self._adjust_batch(shard, list(found))
        # Not errors.count(None): comparing a KafkaError with None leaves an exception set.
        delivered = sum(error is None for error in errors)
        if delivered:
            _published.add(delivered, self._labels)
            _publish_latency.record(max(0.0, time.time() - min(row.committed for row in rows)), self._labels)
        return delivered

    def wake(self) -> None:
        """Ends the wait of the leader; the relay of another process polls."""
        if self._leads:
            super().wake()

    def pause_after(self, done: int) -> float:
        """A short wait in which events accumulate; none while there is a backlog."""
        now = time.monotonic()
        since, self._last_pause = now - self._last_pause, now
        if done >= self._batch:
            return 0.0
        return _GATHER_MANY_SECONDS if done > _MANY_A_SECOND * since else _GATHER_SECONDS

    async def close(self, grace: float = 5.0) -> None:
        """Stops, publishes the events of the last calls, and closes the connection."""
        running = self._task is not None
        await super().close(grace)
        try:
            if running:
                await self._last_passes()
        finally:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _last_passes(self) -> None:
        try:
            async with asyncio.timeout(_LAST_PASSES_SECONDS):
                while await self.run_once():
                    pass
        except self.expected as error:  # OSError: also the time-out
            log.warning("relay stops with events left for the next one: %s", error)

    async def _publish(self, connection: Connection) -> tuple[list[_Row], list[KafkaError | None]]:
        """The rows of a pass, and for each None or why Kafka rejected it."""
        selected = await connection.execute(_SELECT, (_SHARDS, self._limits, self._skipped_keys()), binary=True)
        # Ordered here: Postgres would sort the values too, beyond its working memory.
        rows = sorted((_Row(*row) for row in await selected.fetchall()), key=_Row.position)
        errors: list[KafkaError | None] = []
        for _, together in groupby(rows, key=self._isolated_shard):
            errors += await self._send(list(together))
        delivered = [row.seq for row, error in zip(rows, errors, strict=True) if error is None]
        if delivered:
            await connection.execute(_DELETE, (delivered,))
        return rows, errors

    def _isolated_shard(self, row: _Row) -> int | None:
        """The shard of a row that is sent alone, because Kafka rejects a batch as a whole; None for all other rows."""
        return row.shard if self._limits[row.shard] == 1 else None

    async def _send(self, rows: Sequence[_Row]) -> list[KafkaError | None]:
        """For each row None when every topic has it, or why one of them rejected it."""
        messages: list[ProducerRecord] = []
        owners: list[int] = []
        for index, row in enumerate(rows):
            for message in row.messages():
                messages.append(message)
                owners.append(index)
        errors: list[KafkaError | None] = [None] * len(rows)
        for owner, error in zip(owners, await self._producer.publish(messages), strict=True):
            if error is not None and (errors[owner] is None or is_message_error(error)):
                errors[owner] = error
        return errors

    def _adjust_batch(self, shard: int, outcome: Sequence[tuple[_Row, KafkaError | None]]) -> None:
        """After an error sends the shard row by row, which isolates the one offending event; then blocks its key."""
        rejected = next(((row, error) for row, error in outcome if error is not None), None)
        if rejected is None:
            self._limits[shard] = min(self._batch, self._limits[shard] * 4)
            for key in self._blocked.keys() & {row.key for row, _ in outcome}:
                log.info("key %s is published again", key)
                del self._blocked[key]
        elif self._limits[shard] > 1:
            self._limits[shard] = 1
        elif is_message_error(rejected[1]):
            self._block(*rejected)

    def _block(self, row: _Row, error: KafkaError) -> None:
        before = self._blocked.get(row.key)
        seconds = min(_LONGEST_BLOCK_SECONDS, before.seconds * 2) if before else _FIRST_BLOCK_SECONDS
        self._blocked[row.key] = _Block(time.monotonic() + seconds, seconds)
        log.error(
            "Kafka refuses event %d: its key waits for %d s, others go on. %s",
            row.seq,
            seconds,
            error.str(),
            extra={"fields": {"key": row.key, "topics": row.topics}},
        )

    def _skipped_keys(self) -> list[str]:
        now = time.monotonic()
        return [key for key, block in self._blocked.items() if block.until > now]

    async def _measure(self, connection: Connection) -> None:
        self._next_measure = time.monotonic() + _MEASURE_SECONDS
        rows = await (await connection.execute(_MEASURE)).fetchall()
        counts = {shard: count for shard, count, _ in rows}
        for shard in range(SHARDS):
            _waiting_rows.set(counts.get(shard, 0), {**self._labels, "shard": shard})
        _oldest_row.set(max((age for _, _, age in rows), default=0.0), self._labels)
        _blocked_keys.set(len(self._blocked), self._labels)

    async def _connected(self) -> Connection:
        """The relay's own connection; a broken one is replaced, and its lock is lost.

        Postgres ends the session of a relay that hangs or whose host vanished; a pass times out when Postgres hangs.
        Commits do not wait for the disk: events whose deletion a crash undoes are sent again, and consumers drop them.
        The plan is generic, because the parameters never change it.
        """
        if self._connection is None or self._connection.closed:
            self._leads = False
            self._connection = await Connection.connect(
                self._url,
                autocommit=True,
                application_name=self._name,
                options=f"-c idle_session_timeout={_LEASE_MS} -c tcp_user_timeout={_LEASE_MS}"
                " -c synchronous_commit=off -c plan_cache_mode=force_generic_plan",
                **CONNECT_OPTIONS,
            )
        return self._connection
