"""Fakes of the event tests: a service that publishes and one that consumes; and a reader of whole topics."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import confluent_kafka

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import dead_letters, outbox
from mesh.events.envelope import ConsumedEvent, Message
from mesh.events.outbox import Event, SideEffects
from mesh.runtime import clock
from mesh.runtime.ids import new_id
from tests.events.checker import EventRef

REVISION = "0001"
"""Of the tables of both services."""
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

_NEXT_VERSION = """
    INSERT INTO items (id, user_id, version) VALUES (%(id)s, %(user_id)s, 1)
    ON CONFLICT (id) DO UPDATE SET version = items.version + 1 WHERE items.version = %(version)s - 1
    RETURNING id"""

Write = Callable[[Connection, str, dict[str, Any], SideEffects], Awaitable[None]]


class Source:
    """A service with versioned items; each change of one is an event."""

    def __init__(self, database: Database, url: str, topics: Sequence[str]) -> None:
        self.database = database
        self.url = url
        self.topics = tuple(topics)
        self.committed: list[EventRef] = []

    def event(self, user: str, item: str, version: int, payload: dict[str, Any] | None = None) -> Event:
        """The event of one version."""
        now = clock.now()
        return Event(
            new_id(), "item-changed", "source", self.topics, user, item, "item_id", version, now, payload or {}
        )

    async def change(
        self,
        user: str,
        item: str,
        version: int,
        payload: dict[str, Any] | None = None,
        write: Write = outbox.write,
    ) -> Event:
        """Writes a version and its event in one statement; raises WriteConflict when it exists."""
        event = self.event(user, item, version, payload)
        values = {"id": item, "user_id": user, "version": version}
        async with self.database.connection() as connection:
            await write(connection, _NEXT_VERSION, values, SideEffects([event], None, TRACEPARENT))
        self.committed.append(EventRef(event.id, event.subject, event.version))
        return event

    async def changes(self, user: str, count: int, payload: dict[str, Any] | None = None) -> list[Event]:
        """A new item of the user, in so many versions."""
        item = new_id()
        return [await self.change(user, item, version, payload) for version in range(1, count + 1)]

    async def waiting(self) -> int:
        """How many events are not published."""
        async with self.database.connection() as connection:
            row = await (await connection.execute("SELECT count(*) FROM outbox")).fetchone()
        assert row is not None
        return int(row[0])

    async def all_published(self) -> bool:
        """Whether the outbox is empty."""
        return await self.waiting() == 0


class Applied:
    """A service that writes a row for every event, and fails on those in `poison`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.poison: set[str] = set()

    async def on_item_changed(self, tx: Connection, event: ConsumedEvent) -> None:
        """The handler."""
        await tx.execute(
            "INSERT INTO applied (event_id, subject, version, traceparent) VALUES (%s, %s, %s, %s)",
            (event.id, event.subject, event.version, event.traceparent),
        )
        if event.id in self.poison:
            raise ValueError(f"{event.id} is poison")

    async def events(self) -> list[EventRef]:
        """What was applied, in order."""
        async with self.database.connection() as connection:
            rows = await connection.execute(
                "SELECT event_id::text, subject::text, version FROM applied ORDER BY position"
            )
            return [EventRef(*row) for row in await rows.fetchall()]

    async def parked(self) -> set[str]:
        """Keys that are parked."""
        async with self.database.connection() as connection:
            return {key for (key,) in await (await connection.execute("SELECT key FROM parked")).fetchall()}

    def has(self, count: int) -> Callable[[], Awaitable[bool]]:
        """Whether so many events were applied."""

        async def enough() -> bool:
            return len(await self.events()) >= count

        return enough


def raw(bootstrap: str, topic: str, **options: Any) -> list[Message]:
    """Every message of a topic, each partition in its order. options: further settings of the client."""
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, **options}
    reader = confluent_kafka.Consumer(settings | {"group.id": "metadata"})
    partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
    reader.close()
    return [message for number in partitions for message in dead_letters.read_partition(settings, topic, number)]
