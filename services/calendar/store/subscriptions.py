"""Subscriptions, and their events."""

from collections.abc import Collection, Sequence

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from services.calendar.errors import SubscriptionNotFound
from services.calendar.model import CalendarEvent, CalendarSubscription
from services.calendar.store.events import EVENTS

SUBSCRIPTIONS = Columns(
    "subscriptions",
    CalendarSubscription,
    {
        "id": "uuid",
        "user_id": "uuid",
        "name": "text",
        "url": "text",
        "http_etag": "text",
        "http_last_modified": "text",
        "event_count": "integer",
        "issue_count": "integer",
        "read_at": "timestamptz",
        "tried_at": "timestamptz",
        "next_read_at": "timestamptz",
        "leased_until": "timestamptz",
        "failures": "integer",
        "error": "text",
        "created_at": "timestamptz",
        "deleted_at": "timestamptz",
        "version": "bigint",
    },
    fixed={"id", "user_id", "created_at"},
)
_GONE = 200
"""Events that are removed by one statement, with their rows."""
_SELECT = f"SELECT {SUBSCRIPTIONS.select} FROM subscriptions WHERE user_id = %s::uuid AND deleted_at IS NULL"


async def insert_subscription(tx: Connection, subscription: CalendarSubscription, side_effects: SideEffects) -> None:
    """Writes a new subscription."""
    sql = f"INSERT INTO subscriptions ({SUBSCRIPTIONS.names}) VALUES ({SUBSCRIPTIONS.values}) RETURNING id"
    await outbox.write(tx, sql, SUBSCRIPTIONS.parameters(subscription), side_effects)


async def list_subscriptions(connection: Connection, user_id: str) -> list[CalendarSubscription]:
    """Reads the subscriptions of a user, the one that was created last first."""
    cursor = SUBSCRIPTIONS.cursor(connection)
    await cursor.execute(f"{_SELECT} ORDER BY subscriptions.created_at DESC, subscriptions.id DESC", (user_id,))
    return await cursor.fetchall()


async def get_subscription(connection: Connection, user_id: str, subscription_id: str) -> CalendarSubscription:
    """Reads one subscription; raises SubscriptionNotFound."""
    cursor = SUBSCRIPTIONS.cursor(connection)
    await cursor.execute(f"{_SELECT} AND id = %s::uuid", (user_id, subscription_id))
    subscription = await cursor.fetchone()
    if subscription is None:
        raise SubscriptionNotFound(subscription_id=subscription_id)
    return subscription


_MOVE = """
    UPDATE subscriptions SET next_read_at = %(next_read_at)s
    WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND deleted_at IS NULL RETURNING id"""
_END = """
    UPDATE subscriptions SET deleted_at = %(deleted_at)s, next_read_at = %(deleted_at)s, version = version + 1
    WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND deleted_at IS NULL RETURNING id"""


async def move_reading(tx: Connection, subscription: CalendarSubscription, side_effects: SideEffects) -> None:
    """Stores when a subscription is read next; raises WriteConflict when it is gone."""
    await outbox.write(tx, _MOVE, SUBSCRIPTIONS.parameters(subscription), side_effects)


async def end_subscription(tx: Connection, subscription: CalendarSubscription, side_effects: SideEffects) -> None:
    """Marks a subscription as deleted: nothing is written to it any more. Raises WriteConflict when it is gone."""
    await outbox.write(tx, _END, SUBSCRIPTIONS.parameters(subscription), side_effects)


_CLAIM = f"""
    UPDATE subscriptions SET leased_until = now() + %(seconds)s * interval '1 second', version = version + 1
    WHERE id IN (
        SELECT id FROM subscriptions WHERE id IN (
            SELECT id FROM (
                SELECT id, next_read_at, row_number() OVER (PARTITION BY user_id ORDER BY next_read_at, id) AS turn
                FROM subscriptions
                WHERE next_read_at <= now() AND (leased_until IS NULL OR leased_until <= now())
                    AND user_id <> ALL(%(busy)s::uuid[]) AND (failures > 0) = %(failing)s
            ) AS due WHERE turn = 1 ORDER BY next_read_at LIMIT %(limit)s)
        AND (leased_until IS NULL OR leased_until <= now()) FOR UPDATE SKIP LOCKED)
    RETURNING {SUBSCRIPTIONS.select}"""


async def claim(
    connection: Connection, *, busy: Collection[str], failing: bool, limit: int, seconds: int
) -> list[CalendarSubscription]:
    """Leases subscriptions that are due, one of a user, the longest due first. busy: users to leave out.

    failing: those whose last reading failed, or the others. seconds: of the lease.
    """
    cursor = SUBSCRIPTIONS.cursor(connection)
    values = {"busy": list(busy), "failing": failing, "limit": limit, "seconds": seconds}
    await cursor.execute(_CLAIM, values)
    return await cursor.fetchall()


async def seconds_until_due(connection: Connection) -> float | None:
    """When the next subscription will be due that nobody has leased; what waits for a place by now does not count."""
    cursor = await connection.execute(
        """
        SELECT extract(epoch FROM min(next_read_at) - now())::float8 FROM subscriptions
        WHERE next_read_at > now() AND (leased_until IS NULL OR leased_until <= now())"""
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


class LeaseLostError(Exception):
    """Another replica has the subscription by now, or it was deleted."""


async def require_lease(tx: Connection, subscription: CalendarSubscription) -> None:
    """Raises LeaseLostError unless the lease is one's own, which it then is until the transaction ends."""
    cursor = await tx.execute(
        "SELECT FROM subscriptions WHERE id = %s::uuid AND version = %s FOR SHARE",
        (subscription.id, subscription.version),
    )
    if await cursor.fetchone() is None:
        raise LeaseLostError


async def save_reading(connection: Connection, subscription: CalendarSubscription) -> None:
    """Stores what came of a reading, unless the lease is another's by now."""
    await connection.execute(
        f"UPDATE subscriptions SET {SUBSCRIPTIONS.assignments} WHERE id = %(id)s::uuid AND version = %(version)s",
        SUBSCRIPTIONS.parameters(subscription),
    )


async def release_lease(connection: Connection, subscription: CalendarSubscription, seconds: int) -> None:
    """Ends a lease before its time, in so many seconds."""
    await connection.execute(
        """
        UPDATE subscriptions SET leased_until = now() + make_interval(secs => %s)
        WHERE id = %s::uuid AND version = %s""",
        (seconds, subscription.id, subscription.version),
    )


async def events_by_uid(tx: Connection, subscription_id: str, uids: Sequence[str]) -> dict[str, CalendarEvent]:
    """Locks and reads the events with these UIDs."""
    cursor = EVENTS.cursor(tx)
    await cursor.execute(
        f"SELECT {EVENTS.select} FROM events WHERE subscription_id = %s::uuid AND uid = ANY(%s) FOR UPDATE",
        (subscription_id, list(uids)),
    )
    return {event.uid or "": event for event in await cursor.fetchall()}


async def remove(db: Database, subscription: CalendarSubscription) -> None:
    """Removes a subscription that was deleted, its events first."""
    gone = _GONE
    while gone == _GONE:
        async with db.connection() as connection:
            gone = await delete_others(connection, subscription.id, [])
    async with db.connection() as connection:
        await connection.execute("DELETE FROM subscriptions WHERE id = %s::uuid", (subscription.id,))


async def keep_only(db: Database, subscription: CalendarSubscription, uids: Sequence[str]) -> None:
    """Removes the events with other UIDs of a leased subscription; raises LeaseLostError."""
    gone = _GONE
    while gone == _GONE:
        async with db.transaction() as tx:
            await require_lease(tx, subscription)
            gone = await delete_others(tx, subscription.id, uids)


async def delete_others(connection: Connection, subscription_id: str, uids: Sequence[str]) -> int:
    """Removes some events with other UIDs; returns how many."""
    cursor = await connection.execute(
        """
        DELETE FROM events WHERE id IN (
            SELECT id FROM events WHERE subscription_id = %s::uuid AND uid <> ALL(%s) LIMIT %s)""",
        (subscription_id, list(uids), _GONE),
    )
    return cursor.rowcount
