"""Claims of guests by accounts."""

from collections.abc import Sequence

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


async def list_claimed(connection: Connection, user_id: str) -> list[str]:
    """Reads which guests a user has claimed."""
    cursor = await connection.execute(
        "SELECT guest_id::text FROM guest_claims WHERE user_id = %s::uuid ORDER BY guest_id", (user_id,)
    )
    return [guest_id for (guest_id,) in await cursor.fetchall()]


async def insert_claim(tx: Connection, claim: GuestClaim, known: Sequence[str]) -> None:
    """Writes that an account has claimed a guest; claims of one user wait for one another until the transaction ends.

    known: what `list_claimed` returned before the claim was decided on. Raises WriteConflict when the user has claimed
    another guest since, or somebody this one.
    """
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (claim.user_id,))
    if await list_claimed(tx, claim.user_id) != known:
        raise WriteConflict
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
    """Writes that the guest of a claim is ended; removes the claim when its account was deleted."""
    await connection.execute(
        "UPDATE guest_claims SET ended_at = now() WHERE guest_id = %s::uuid AND response <> ''", (guest_id,)
    )
    await connection.execute("DELETE FROM guest_claims WHERE guest_id = %s::uuid AND response = ''", (guest_id,))


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
    """Erases up to so many claims of a user; returns how many.

    One whose guest is not ended stays, without its response, until `end_claim`.
    """
    emptied = await tx.execute(
        """
        UPDATE guest_claims SET response = '' WHERE guest_id IN (
            SELECT guest_id FROM guest_claims
            WHERE user_id = %s::uuid AND ended_at IS NULL AND response <> '' LIMIT %s)
        AND ended_at IS NULL""",
        (user_id, limit),
    )
    # After the update, which waits for an `end_claim`: what that has ended is deleted here.
    deleted = await tx.execute(
        """
        DELETE FROM guest_claims WHERE guest_id IN (
            SELECT guest_id FROM guest_claims WHERE user_id = %s::uuid AND ended_at IS NOT NULL LIMIT %s)""",
        (user_id, limit),
    )
    return emptied.rowcount + deleted.rowcount
