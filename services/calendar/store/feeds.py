"""Feeds, and what of a user's events they show."""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import NamedTuple

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import to_datetime
from services.calendar.errors import FeedNotFound
from services.calendar.model import CalendarEvent, Feed, OccurrenceRow
from services.calendar.store.events import EVENTS
from services.calendar.store.occurrences import ROWS

FEEDS = Columns(
    "feeds",
    Feed,
    {
        "id": "uuid",
        "user_id": "uuid",
        "name": "text",
        "token_hash": "bytea",
        "include_tasks": "boolean",
        "created_at": "timestamptz",
        "last_read_at": "timestamptz",
        "etag": "text",
        "changed_at": "timestamptz",
    },
)
_ROWS = 200
"""Of one statement: each may have a description of 40 KB."""


class Listed(NamedTuple):
    """An event that a feed shows."""

    id: str
    version: int
    time_zone: str | None
    rows: int
    """Occurrences that differ from it."""


async def insert_feed(tx: Connection, feed: Feed) -> None:
    """Writes a new feed."""
    await tx.execute(f"INSERT INTO feeds ({FEEDS.names}) VALUES ({FEEDS.values})", FEEDS.parameters(feed))


async def list_feeds(connection: Connection, user_id: str) -> list[Feed]:
    """Reads the feeds of a user, the one that was created last first."""
    cursor = FEEDS.cursor(connection)
    await cursor.execute(
        f"SELECT {FEEDS.select} FROM feeds WHERE user_id = %s::uuid ORDER BY feeds.created_at DESC, feeds.id DESC",
        (user_id,),
    )
    return await cursor.fetchall()


async def get_feed(connection: Connection, user_id: str, feed_id: str) -> Feed:
    """Reads one feed; raises FeedNotFound."""
    feed = next((feed for feed in await list_feeds(connection, user_id) if feed.id == feed_id), None)
    if feed is None:
        raise FeedNotFound(feed_id=feed_id)
    return feed


async def find_feed(connection: Connection, token_hash: str) -> Feed | None:
    """Reads the feed with a token."""
    cursor = FEEDS.cursor(connection)
    await cursor.execute(f"SELECT {FEEDS.select} FROM feeds WHERE token_hash = %s::bytea", (bytes.fromhex(token_hash),))
    return await cursor.fetchone()


async def delete_feed(tx: Connection, feed: Feed, side_effects: SideEffects) -> None:
    """Removes a feed; raises WriteConflict when it is gone."""
    await outbox.write(
        tx,
        "DELETE FROM feeds WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid RETURNING id",
        {"user_id": feed.user_id, "id": feed.id},
        side_effects,
    )


_NOTE = f"""
    UPDATE feeds SET last_read_at = date_trunc('hour', %(now)s, 'UTC'), etag = %(etag)s, changed_at =
        CASE WHEN etag = %(etag)s THEN changed_at
        ELSE greatest(date_trunc('second', %(now)s), date_trunc('second', changed_at) + interval '1 second') END
    WHERE id = %(id)s::uuid RETURNING {FEEDS.select}"""


async def note_reading(connection: Connection, feed: Feed, etag: str, now: int) -> Feed | None:
    """Keeps what is read now, and since when it is so; of two changes in a second the later one is a second later.

    Returns the feed; None when it is gone.
    """
    cursor = FEEDS.cursor(connection)
    await cursor.execute(_NOTE, {"id": feed.id, "etag": etag, "now": to_datetime(now)})
    return await cursor.fetchone()


async def list_shown(connection: Connection, user_id: str) -> list[Listed]:
    """The user's own events, in the order of their creation."""
    cursor = await connection.execute(
        """
        SELECT id::text, version, time_zone,
            (SELECT count(*) FROM occurrences WHERE event_id = events.id)
        FROM events WHERE user_id = %s::uuid AND deleted_at IS NULL AND subscription_id IS NULL
        ORDER BY created_at, id""",
        (user_id,),
    )
    return [Listed(*row) for row in await cursor.fetchall()]


async def get_shown(connection: Connection, user_id: str, listed: Sequence[Listed]) -> list[CalendarEvent]:
    """Reads these events, in this order, as far as they are still as they were listed."""
    cursor = EVENTS.cursor(connection)
    await cursor.execute(
        f"SELECT {EVENTS.select} FROM events WHERE user_id = %s::uuid AND id = ANY(%s::uuid[]) AND deleted_at IS NULL",
        (user_id, [event.id for event in listed]),
    )
    found = {event.id: event for event in await cursor.fetchall()}
    return [found[each.id] for each in listed if each.id in found and found[each.id].version == each.version]


async def rows_of_events(connection: Connection, event_ids: Collection[str]) -> AsyncIterator[list[OccurrenceRow]]:
    """All rows of some events, in bounded pieces."""
    last = ("00000000-0000-0000-0000-000000000000", "")
    while True:
        cursor = ROWS.cursor(connection)
        await cursor.execute(
            f"""
            SELECT {ROWS.select} FROM occurrences
            WHERE event_id = ANY(%s::uuid[]) AND (event_id, slot) > (%s::uuid, %s)
            ORDER BY occurrences.event_id, occurrences.slot LIMIT {_ROWS}""",
            (list(event_ids), *last),
        )
        rows = await cursor.fetchall()
        if rows:
            yield rows
        if len(rows) < _ROWS:
            return
        last = (rows[-1].event_id, rows[-1].slot)
