"""Partitions of the archive, which only functions of the schema's owner make and detach."""

from collections.abc import Sequence

from psycopg.errors import LockNotAvailable

from mesh.database.connection import Connection
from mesh.runtime.clock import to_datetime


async def make(connection: Connection, months: Sequence[int]) -> int:
    """Makes the partitions of these months that are missing, and brings back those from cold storage; returns how many.

    months: their begins. In a transaction they stay until it ends.
    """
    cursor = await connection.execute(
        "SELECT make_partitions(%s::timestamptz[])", ([to_datetime(month) for month in months],)
    )
    [made] = await cursor.fetchone() or (0,)
    return int(made)


async def freeze(connection: Connection, hot_from: int) -> int:
    """Puts the oldest month that ends before an instant into cold storage; returns how many.

    None while the archive is in use or sessions of the month can still be undeleted.
    """
    try:
        cursor = await connection.execute("SELECT freeze_oldest_month(%s::timestamptz)", (to_datetime(hot_from),))
    except LockNotAvailable:
        return 0
    [frozen] = await cursor.fetchone() or (0,)
    return int(frozen)
