"""Claims of guests by accounts."""

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.database.pool import WriteConflict
from services.pomodoro.model import GuestClaim

CLAIMS = Columns(
    "guest_claims",
    GuestClaim,
    {"guest_id": "uuid", "user_id": "uuid", "response": "bytea", "claimed_at": "timestamptz"},
)


async def find_claim(connection: Connection, guest_id: str) -> GuestClaim | None:
    """Reads what became of a guest; None when no account has claimed the guest."""
    cursor = CLAIMS.cursor(connection)
    await cursor.execute(f"SELECT {CLAIMS.select} FROM guest_claims WHERE guest_id = %s::uuid", (guest_id,))
    return await cursor.fetchone()


async def insert_claim(tx: Connection, claim: GuestClaim) -> None:
    """Writes that an account has claimed a guest; raises WriteConflict when one had before."""
    cursor = await tx.execute(
        f"INSERT INTO guest_claims ({CLAIMS.names}) VALUES ({CLAIMS.values}) ON CONFLICT DO NOTHING",
        CLAIMS.parameters(claim),
    )
    if not cursor.rowcount:
        raise WriteConflict


async def list_unended(connection: Connection, limit: int) -> list[GuestClaim]:
    """Reads claims whose guests are not ended yet, the oldest first."""
    cursor = CLAIMS.cursor(connection)
    await cursor.execute(
        f"SELECT {CLAIMS.select} FROM guest_claims WHERE ended_at IS NULL ORDER BY claimed_at LIMIT %s", (limit,)
    )
    return await cursor.fetchall()


async def end_claim(connection: Connection, guest_id: str) -> None:
    """Writes that the guest of a claim is ended."""
    await connection.execute("UPDATE guest_claims SET ended_at = now() WHERE guest_id = %s::uuid", (guest_id,))


async def purge_claims(connection: Connection, days: int, limit: int) -> int:
    """Removes claims that are so old; returns how many."""
    cursor = await connection.execute(
        """
        DELETE FROM guest_claims WHERE guest_id IN (
            SELECT guest_id FROM guest_claims
            WHERE claimed_at < now() - make_interval(days => %s) AND ended_at IS NOT NULL LIMIT %s)""",
        (days, limit),
    )
    return cursor.rowcount


async def erase_claims(tx: Connection, user_id: str, limit: int) -> int:
    """Deletes up to so many claims of a user; returns how many."""
    cursor = await tx.execute(
        "DELETE FROM guest_claims WHERE guest_id IN ("
        "SELECT guest_id FROM guest_claims WHERE user_id = %s::uuid LIMIT %s)",
        (user_id, limit),
    )
    return cursor.rowcount
