"""SQL of sessions: one row is a chain of refresh tokens."""

from mesh.database.columns import Columns, microseconds
from mesh.database.connection import Connection
from mesh.runtime.clock import to_datetime
from services.auth.errors import RefreshTokenInvalid
from services.auth.model import SESSION_LIFE, Session
from services.auth.store import ACTIVE

SESSIONS = Columns(
    "refresh_tokens",
    Session,
    {
        "id": "uuid",
        "user_id": "uuid",
        "generation": "integer",
        "issued_at": "timestamptz",
        "expires_at": "timestamptz",
        "revoked_at": "timestamptz",
    },
)
_STILL_VALID = "refresh_tokens.password_version = users.password_version"
"""A new password ends every session at once, however many there are."""
_INSERT_SESSION = f"""
    INSERT INTO refresh_tokens ({SESSIONS.names}, token_hash, password_version)
    SELECT {SESSIONS.values}, %(token_hash)s, password_version FROM users
    WHERE id = %(user_id)s AND password_version = %(password_version)s AND {ACTIVE}
    FOR SHARE"""


async def insert_session(connection: Connection, session: Session, token_hash: str, password_version: int) -> bool:
    """Begins a session with its first refresh token; returns False when the account was closed meanwhile.

    password_version: of the password that was checked. Locks the account: a new password that is being set either
    ends this session or keeps it from beginning.
    """
    parameters = SESSIONS.parameters(session) | {"token_hash": token_hash, "password_version": password_version}
    cursor = await connection.execute(_INSERT_SESSION, parameters)
    return cursor.rowcount == 1


_EXCHANGE_TOKEN = f"""
    UPDATE refresh_tokens SET token_hash = %(new_hash)s, generation = generation + 1, issued_at = %(now)s,
        expires_at = %(expires)s, last_used_at = %(now)s
    FROM users
    WHERE refresh_tokens.id = %(session_id)s AND token_hash = %(old_hash)s AND revoked_at IS NULL
        AND expires_at > %(now)s AND users.id = user_id AND {_STILL_VALID} AND {ACTIVE}
    RETURNING {SESSIONS.select}"""


async def exchange_token(
    connection: Connection, session_id: str, old_hash: str, new_hash: str, *, now: int, expires: int
) -> Session | None:
    """Replaces a session's newest token; returns the session after it, or None when `old_hash` is not the newest.

    Of callers with one token, exactly one succeeds: the others wait for the row and then find another hash.
    """
    cursor = SESSIONS.cursor(connection)
    await cursor.execute(
        _EXCHANGE_TOKEN,
        {
            "session_id": session_id,
            "old_hash": old_hash,
            "new_hash": new_hash,
            "now": to_datetime(now),
            "expires": to_datetime(expires),
        },
    )
    return await cursor.fetchone()


_GET_SESSION = f"""
    SELECT {SESSIONS.select} FROM refresh_tokens JOIN users ON users.id = user_id
    WHERE refresh_tokens.id = %(session_id)s AND {_STILL_VALID} AND {ACTIVE}"""


async def get_session(connection: Connection, session_id: str) -> Session:
    """Reads a session, ended or not.

    Raises RefreshTokenInvalid when it is not there, its account was closed or another password set since it began.
    """
    cursor = SESSIONS.cursor(connection)
    await cursor.execute(_GET_SESSION, {"session_id": session_id})
    session = await cursor.fetchone()
    if session is None:
        raise RefreshTokenInvalid
    return session


async def end_session(connection: Connection, session_id: str, now: int) -> None:
    """Ends a session; does nothing when it has ended."""
    await connection.execute(
        "UPDATE refresh_tokens SET revoked_at = %(now)s WHERE id = %(session_id)s AND revoked_at IS NULL",
        {"session_id": session_id, "now": to_datetime(now)},
    )


async def end_sessions(connection: Connection, user_id: str, now: int) -> None:
    """Ends every session of a user."""
    await connection.execute(
        "UPDATE refresh_tokens SET revoked_at = %(now)s WHERE user_id = %(user_id)s AND revoked_at IS NULL",
        {"user_id": user_id, "now": to_datetime(now)},
    )


_ISSUED_SINCE = "user_id = %(user_id)s AND expires_at >= %(since)s"
"""A session expires SESSION_LIFE after its newest token was made; the index on it finds few among however many."""


async def end_sessions_issued_since(connection: Connection, user_id: str, since: int, now: int) -> None:
    """Ends the sessions of a user whose newest token was made at or after this instant."""
    await connection.execute(
        f"UPDATE refresh_tokens SET revoked_at = %(now)s WHERE {_ISSUED_SINCE} AND revoked_at IS NULL",
        {"user_id": user_id, "since": to_datetime(since + SESSION_LIFE), "now": to_datetime(now)},
    )


async def list_sessions_issued_since(connection: Connection, user_id: str, since: int, limit: int) -> list[str]:
    """Lists up to `limit` sessions of a user, ended or not, whose newest token was made at or after this instant."""
    cursor = await connection.execute(
        f"SELECT id::text FROM refresh_tokens WHERE {_ISSUED_SINCE} LIMIT %(limit)s",
        {"user_id": user_id, "since": to_datetime(since + SESSION_LIFE), "limit": limit},
    )
    return [session_id for (session_id,) in await cursor.fetchall()]


_SESSIONS_ENDED = f"""
    SELECT id::text, {microseconds("revoked_at")} FROM refresh_tokens WHERE revoked_at >= %(since)s"""


async def sessions_ended_since(connection: Connection, since: int) -> list[tuple[str, int]]:
    """Lists the sessions that were ended at or after this instant, each with the instant of its end."""
    cursor = await connection.execute(_SESSIONS_ENDED, {"since": to_datetime(since)})
    return await cursor.fetchall()


async def purge_sessions(connection: Connection, before: int, limit: int) -> int:
    """Deletes sessions that ended or expired before this instant; returns how many, at most `limit`."""
    cursor = await connection.execute(
        """
        DELETE FROM refresh_tokens WHERE id IN (
            SELECT id FROM refresh_tokens WHERE expires_at < %(before)s OR revoked_at < %(before)s
            LIMIT %(limit)s FOR UPDATE SKIP LOCKED)""",
        {"before": to_datetime(before), "limit": limit},
    )
    return cursor.rowcount
