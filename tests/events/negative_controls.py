"""Two plausible mistakes, kept to show that a checker catches them.

`EarlyNumbers().write` stands in for `mesh.outbox.write`, `CursorRelay` for `mesh.relay.Relay`.
"""

from collections.abc import Mapping
from typing import Any

import psycopg

from mesh.database.connection import Connection
from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.envelope import envelope
from mesh.events.outbox import Event, SideEffects
from mesh.events.producer import Producer, ProducerRecord
from mesh.runtime.lifecycle import PeriodicTask

_LIMIT = 500
_NEXT_NUMBERS = "SELECT nextval(pg_get_serial_sequence('outbox', 'seq')) FROM generate_series(1, 20)"
_INSERT = """
    INSERT INTO outbox (seq, event_id, topics, key, version, shard, value, traceparent) OVERRIDING SYSTEM VALUE
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""


class EarlyNumbers:
    """Draws sequence numbers before the aggregate's row is locked: a connection has the next twenty in stock.

    A sequence with CACHE 20 would do the same.
    """

    def __init__(self) -> None:
        self._stock: dict[Connection, list[int]] = {}

    async def write(
        self, connection: Connection, sql: str, values: Mapping[str, Any], side_effects: SideEffects
    ) -> None:
        """Writes a version and its events, like the function that it stands in for."""
        async with connection.transaction():
            numbers = [await self._number(connection) for _ in side_effects.events]
            if (await connection.execute(sql, values)).rowcount == 0:
                raise WriteConflict
            for number, event in zip(numbers, side_effects.events, strict=True):
                await connection.execute(_INSERT, _row(number, event, side_effects.traceparent))
        outbox.wake()

    async def _number(self, connection: Connection) -> int:
        stock = self._stock.setdefault(connection, [])
        if not stock:
            drawn = await connection.execute(_NEXT_NUMBERS)
            stock += [number for (number,) in await drawn.fetchall()]
        return stock.pop(0)


def _row(number: int, event: Event, traceparent: str) -> tuple[Any, ...]:
    return (
        number,
        event.id,
        list(event.topics),
        event.user_id,
        event.version,
        outbox.shard(event.user_id),
        envelope(event, traceparent),
        traceparent,
    )


class CursorRelay(PeriodicTask):
    """Keeps the highest number it published: what commits later under a lower number is never published."""

    def __init__(self, database_url: str, producer: Producer, *, service: str) -> None:
        super().__init__(f"cursor relay of {service}")
        self._url = database_url
        self._producer = producer
        self._cursor = 0
        self._connection: Connection | None = None

    async def run_once(self) -> int:
        """Publishes what has a higher number than all before."""
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        found = await self._connection.execute(
            "SELECT seq, topics, key, value FROM outbox WHERE seq > %s ORDER BY seq LIMIT %s",
            (self._cursor, _LIMIT),
            binary=True,
        )
        rows = await found.fetchall()
        if rows:
            await self._producer.publish(
                [ProducerRecord(topic, key, value, []) for _, topics, key, value in rows for topic in topics]
            )
            self._cursor = rows[-1][0]
        return len(rows)

    async def close(self, grace: float = 5.0) -> None:
        """Stops."""
        await super().close(grace)
        if self._connection is not None:
            await self._connection.close()
