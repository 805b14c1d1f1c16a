"""The inbox: applies every event exactly once and stores parked keys.

A batch is one transaction: it inserts the ids of new events, raises the versions of foreign aggregates and runs the
handlers. An event whose id is there already is a redelivery and is dropped.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent, Message, traced
from mesh.runtime.telemetry import meter

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Connection, ConsumedEvent], Awaitable[None]]
BatchHandler: TypeAlias = Callable[[Connection, Sequence[ConsumedEvent]], Awaitable[None]]

_duplicates = meter.create_counter("focusmesh.inbox.duplicates", unit="{event}")
_stale = meter.create_counter("focusmesh.inbox.stale", unit="{event}")
_parked_keys = meter.create_gauge("focusmesh.inbox.parked_keys", unit="{key}")

_ADMIT = """
    INSERT INTO inbox (source, event_id) SELECT source, event_id FROM unnest(%s::text[], %s::uuid[])
        AS arrived (source, event_id) ORDER BY source, event_id
    ON CONFLICT DO NOTHING RETURNING source, event_id::text, 0, 0"""
_ADMIT_NEWEST = """
    WITH arrived AS (
        SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::integer[], %s::bigint[])
            AS event (source, event_id, subject, epoch, version)
    ), fresh AS (
        INSERT INTO inbox (source, event_id) SELECT DISTINCT source, event_id FROM arrived ORDER BY 1, 2
        ON CONFLICT DO NOTHING RETURNING source, event_id
    ), moved AS (
        INSERT INTO aggregate_versions AS known (source, subject, epoch, version)
        SELECT DISTINCT ON (source, subject) source, subject, epoch, version
        FROM arrived JOIN fresh USING (source, event_id) ORDER BY source, subject, epoch DESC, version DESC
        ON CONFLICT (source, subject) DO UPDATE SET
            epoch = greatest(known.epoch, excluded.epoch),
            version = CASE WHEN (excluded.epoch, excluded.version) > (known.epoch, known.version)
                THEN excluded.version ELSE known.version END
        RETURNING source, subject, coalesce(old.epoch, 0) AS epoch, coalesce(old.version, 0) AS version
    )
    SELECT DISTINCT fresh.source, fresh.event_id::text, coalesce(moved.epoch, 0), coalesce(moved.version, 0)
    FROM fresh JOIN arrived USING (source, event_id) LEFT JOIN moved USING (source, subject)"""
_LONGEST_REASON = 1000
"""Characters; an error may repeat what it is about."""
_PARK = """
    INSERT INTO parked (topic, key, partition, message_offset, reason) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (topic, key) DO NOTHING"""


@dataclass(frozen=True)
class TopicSubscription:
    """How a service handles the events of one topic. Event types that it does not name are ignored."""

    topic: str
    on: Mapping[str, Handler] = field(default_factory=dict)
    """Handler of one event, by event type."""
    batch: BatchHandler | None = None
    """Instead of `on`: handles a batch of events of every type, in order."""
    prepare: Callable[[Sequence[ConsumedEvent]], Awaitable[None]] | None = None
    """Runs before the transaction, for what must not run within one, such as a call to another service."""
    drop_stale: bool = True
    """Whether to drop an event older than the newest applied one of its aggregate. False where every event counts."""

    def wants(self, event: ConsumedEvent) -> bool:
        """Whether the service handles the event."""
        return self.batch is not None or event.type in self.on

    async def apply(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Runs the handlers of the events, in order."""
        if self.batch is not None:
            await self.batch(tx, events)
            return
        for event in events:
            await _traced(self.on[event.type], tx, event)


class Inbox:
    """The Postgres side of a consumer."""

    def __init__(self, database: Database, subscriptions: Sequence[TopicSubscription]) -> None:
        self._database = database
        self._subscriptions = {subscription.topic: subscription for subscription in subscriptions}

    @property
    def topics(self) -> list[str]:
        """The topics to consume."""
        return list(self._subscriptions)

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        """Applies the new ones of these events of one topic, atomically."""
        subscription = self._subscriptions[events[0].topic]
        if subscription.prepare is not None:
            await subscription.prepare([event for event in events if subscription.wants(event)])
        async with self._database.transaction() as tx:
            dropped = await self._apply(tx, events)
        dropped.report(events[0].topic)

    async def parked_keys(self, topic: str) -> set[str]:
        """Keys of a topic whose messages become dead letters."""
        async with self._database.connection() as connection:
            cursor = await connection.execute("SELECT key FROM parked WHERE topic = %s", (topic,))
            keys = {key for (key,) in await cursor.fetchall()}
        _parked_keys.set(len(keys), {"topic": topic})
        return keys

    async def park(self, message: Message, reason: str) -> None:
        """Parks the key of a message that cannot be applied."""
        async with self._database.connection() as connection:
            await connection.execute(
                _PARK,
                (
                    *(message.topic, message.key_text, message.partition, message.offset),
                    reason.replace("\0", "")[:_LONGEST_REASON],
                ),
            )
        await self.parked_keys(message.topic)

    @asynccontextmanager
    async def while_parked(self, topic: str, key: str) -> AsyncIterator[bool]:
        """Whether the key is parked; it stays so within the block, because a replay waits for the end of it.

        The only transaction that waits for Kafka: rare, and limited by the producer's deadline.
        """
        async with self._database.transaction() as tx:
            cursor = await tx.execute("SELECT FROM parked WHERE topic = %s AND key = %s FOR SHARE", (topic, key))
            yield await cursor.fetchone() is not None

    async def replay(
        self, topic: str, key: str, letters: Callable[[], Awaitable[Sequence[ConsumedEvent]]]
    ) -> Sequence[ConsumedEvent]:
        """Applies a key's dead letters and unparks it, in one transaction. letters: called when none can be added."""
        async with self._database.transaction() as tx:
            await tx.execute("SELECT FROM parked WHERE topic = %s AND key = %s FOR UPDATE", (topic, key))
            events = await letters()
            await self._apply(tx, events)
            await tx.execute("DELETE FROM parked WHERE topic = %s AND key = %s", (topic, key))
        await self.parked_keys(topic)
        return events

    async def _apply(self, tx: Connection, events: Sequence[ConsumedEvent]) -> "_Dropped":
        expected = [event for event in events if self._subscriptions[event.topic].wants(event)]
        if not expected:
            return _Dropped(0, 0)
        subscription = self._subscriptions[expected[0].topic]
        admitted, stale = await _admit(tx, expected, drop_stale=subscription.drop_stale)
        if admitted:
            await subscription.apply(tx, admitted)
        return _Dropped(len(expected) - len(admitted) - stale, stale)


async def _admit(
    tx: Connection, events: Sequence[ConsumedEvent], *, drop_stale: bool
) -> tuple[list[ConsumedEvent], int]:
    """The events that are neither known nor stale, and the number of stale ones; records all of them as known."""
    columns: list[list[Any]] = [[event.source for event in events], [event.id for event in events]]
    if drop_stale:
        columns += (
            [event.subject for event in events],
            [event.epoch for event in events],
            [event.version for event in events],
        )
    cursor = await tx.execute(_ADMIT_NEWEST if drop_stale else _ADMIT, columns)
    fresh = {(source, event_id): (epoch, version) for source, event_id, epoch, version in await cursor.fetchall()}
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    admitted: list[ConsumedEvent] = []
    stale = 0
    for event in events:
        before = fresh.pop((event.source, event.id), None)
        if before is None:
            continue
        aggregate, version = (event.source, event.subject), (event.epoch, event.version)
        known = newest.setdefault(aggregate, before)
        if version < known and drop_stale:
            stale += 1
            continue
        newest[aggregate] = max(version, known)
        admitted.append(event)
    return admitted, stale


class _Dropped(NamedTuple):
    """How many events of a batch were dropped."""

    duplicates: int
    stale: int

    def report(self, topic: str) -> None:
        """Adds them to the metrics; call it once the batch has committed."""
        if self.duplicates:
            _duplicates.add(self.duplicates, {"topic": topic})
        if self.stale:
            _stale.add(self.stale, {"topic": topic})


async def _traced(handler: Handler, tx: Connection, event: ConsumedEvent) -> None:
    with traced([event]) as [traceparent]:
        await handler(tx, event._replace(traceparent=traceparent))
