"""SQL of auth. Ids leave as text, instants as microseconds since the epoch."""

from typing import Any

from psycopg.rows import args_row

from mesh.database.connection import Connection
from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import to_datetime
from services.auth.errors import EmailTaken
from services.auth.model import Credentials, Session, Theme, User, UserSettings

_ACTIVE = "users.is_active AND users.deleted_at IS NULL"
_MICROSECONDS = "(extract(epoch FROM {0}) * 1000000)::bigint"
_SESSION = f"""refresh_tokens.id::text, user_id::text, {_ACTIVE}, generation, {_MICROSECONDS.format("issued_at")},
    {_MICROSECONDS.format("expires_at")}, {_MICROSECONDS.format("revoked_at")}"""


async def insert_user(tx: Connection, user: User, password_hash: str, effect: SideEffects) -> None:
    """Writes a new account; raises EmailTaken when the address is somebody's, in whatever case."""
    try:
        await outbox.write(
            tx,
            """
            INSERT INTO users (id, email, name, password_hash, time_zone, day_start_minutes, version,
                created_at, updated_at)
            VALUES (%(id)s::uuid, %(email)s, %(name)s, %(password_hash)s, %(time_zone)s, %(day_start_minutes)s,
                %(version)s, %(created_at)s, %(updated_at)s)
            ON CONFLICT DO NOTHING
            RETURNING id""",
            _values(user) | {"password_hash": password_hash},
            effect,
        )
    except WriteConflict:
        raise EmailTaken from None


async def insert_settings(tx: Connection, user_id: str, now: int) -> None:
    """Writes a new account's settings, as the table's defaults have them."""
    await tx.execute(
        "INSERT INTO user_settings (user_id, created_at, updated_at) VALUES (%(user_id)s, %(now)s, %(now)s)",
        {"user_id": user_id, "now": to_datetime(now)},
    )


async def get_user(connection: Connection, user_id: str) -> User | None:
    """One account, closed ones too."""
    cursor = connection.cursor(row_factory=args_row(User))
    await cursor.execute(
        f"""
        SELECT id::text, email, name, time_zone, day_start_minutes, {_ACTIVE}, version,
            {_MICROSECONDS.format("created_at")}, {_MICROSECONDS.format("updated_at")}
        FROM users WHERE id = %(user_id)s""",
        {"user_id": user_id},
    )
    return await cursor.fetchone()


async def save_user(connection: Connection, user: User, effect: SideEffects) -> None:
    """Writes the next version of an account; raises WriteConflict when another write came first."""
    await outbox.write(
        connection,
        f"""
        UPDATE users SET name = %(name)s, time_zone = %(time_zone)s, day_start_minutes = %(day_start_minutes)s,
            version = %(version)s, updated_at = %(updated_at)s
        WHERE id = %(id)s AND version = %(version)s - 1 AND {_ACTIVE}
        RETURNING id""",
        _values(user),
        effect,
    )


async def find_credentials(connection: Connection, email: str) -> Credentials | None:
    """What a login with this address is checked against."""
    cursor = connection.cursor(row_factory=args_row(Credentials))
    await cursor.execute(
        f"SELECT id::text, password_hash, {_ACTIVE} FROM users WHERE lower(email) = lower(%(email)s)",
        {"email": email},
    )
    return await cursor.fetchone()


async def replace_password_hash(connection: Connection, user_id: str, old: str, new: str) -> None:
    """Stores the same password under today's parameters, unless it was changed meanwhile."""
    await connection.execute(
        "UPDATE users SET password_hash = %(new)s WHERE id = %(user_id)s AND password_hash = %(old)s",
        {"user_id": user_id, "old": old, "new": new},
    )


async def get_settings(connection: Connection, user_id: str) -> UserSettings | None:
    """A user's settings; None when the account is closed or gone."""
    cursor = connection.cursor(row_factory=args_row(_settings))
    await cursor.execute(
        f"""
        SELECT default_pomodoro_minutes, default_short_break_minutes, default_long_break_minutes, long_break_interval,
            theme, user_settings.version, {_MICROSECONDS.format("user_settings.updated_at")}
        FROM user_settings JOIN users ON users.id = user_id WHERE user_id = %(user_id)s AND {_ACTIVE}""",
        {"user_id": user_id},
    )
    return await cursor.fetchone()


async def save_settings(connection: Connection, user_id: str, settings: UserSettings, effect: SideEffects) -> None:
    """Writes the next version of a user's settings; raises WriteConflict when another write came first."""
    await outbox.write(
        connection,
        f"""
        UPDATE user_settings SET default_pomodoro_minutes = %(default_pomodoro_minutes)s,
            default_short_break_minutes = %(default_short_break_minutes)s,
            default_long_break_minutes = %(default_long_break_minutes)s,
            long_break_interval = %(long_break_interval)s, theme = %(theme)s, version = %(version)s,
            updated_at = %(updated_at)s
        FROM users
        WHERE user_id = %(user_id)s AND user_settings.version = %(version)s - 1 AND users.id = user_id AND {_ACTIVE}
        RETURNING user_id""",
        settings._asdict()
        | {"user_id": user_id, "theme": settings.theme.value, "updated_at": to_datetime(settings.updated_at)},
        effect,
    )


async def insert_session(connection: Connection, session: Session, token_hash: str) -> bool:
    """Begins a session with its first refresh token; False when the account was closed meanwhile."""
    cursor = await connection.execute(
        f"""
        INSERT INTO refresh_tokens (id, user_id, token_hash, issued_at, expires_at, generation)
        SELECT %(session_id)s::uuid, id, %(token_hash)s, %(issued_at)s, %(expires_at)s, %(generation)s FROM users
        WHERE id = %(user_id)s AND {_ACTIVE}""",
        {
            "session_id": session.id,
            "user_id": session.user_id,
            "token_hash": token_hash,
            "issued_at": to_datetime(session.issued_at),
            "expires_at": to_datetime(session.expires_at),
            "generation": session.generation,
        },
    )
    return cursor.rowcount == 1


async def exchange_token(
    connection: Connection, session_id: str, old_hash: str, new_hash: str, *, now: int, expires: int
) -> Session | None:
    """Makes the next token of a session its newest one, if `old_hash` still is; the session after it, or None.

    Of any number of callers with one token, one gets it: the others wait for the row and then find another hash.
    """
    cursor = connection.cursor(row_factory=args_row(Session))
    await cursor.execute(
        f"""
        UPDATE refresh_tokens SET token_hash = %(new_hash)s, generation = generation + 1, issued_at = %(now)s,
            expires_at = %(expires)s, last_used_at = %(now)s
        FROM users
        WHERE refresh_tokens.id = %(session_id)s AND token_hash = %(old_hash)s AND revoked_at IS NULL
            AND expires_at > %(now)s AND users.id = user_id AND {_ACTIVE}
        RETURNING {_SESSION}""",
        {
            "session_id": session_id,
            "old_hash": old_hash,
            "new_hash": new_hash,
            "now": to_datetime(now),
            "expires": to_datetime(expires),
        },
    )
    return await cursor.fetchone()


async def get_session(connection: Connection, session_id: str) -> Session | None:
    """One session, ended ones too."""
    cursor = connection.cursor(row_factory=args_row(Session))
    await cursor.execute(
        f"SELECT {_SESSION} FROM refresh_tokens JOIN users ON users.id = user_id"
        " WHERE refresh_tokens.id = %(session_id)s",
        {"session_id": session_id},
    )
    return await cursor.fetchone()


async def end_session(connection: Connection, session_id: str, now: int) -> None:
    """Ends a session; one that has ended stays as it is."""
    await connection.execute(
        "UPDATE refresh_tokens SET revoked_at = %(now)s WHERE id = %(session_id)s AND revoked_at IS NULL",
        {"session_id": session_id, "now": to_datetime(now)},
    )


async def sessions_ended_since(connection: Connection, since: int) -> list[tuple[str, int]]:
    """Sessions that were ended at or after this moment, and when."""
    cursor = await connection.execute(
        f"SELECT id::text, {_MICROSECONDS.format('revoked_at')} FROM refresh_tokens WHERE revoked_at >= %(since)s",
        {"since": to_datetime(since)},
    )
    return await cursor.fetchall()


async def users_closed_since(connection: Connection, since: int) -> list[tuple[str, int]]:
    """Accounts that were deactivated or deleted at or after this moment, and when."""
    cursor = await connection.execute(
        f"""
        SELECT id::text, {_MICROSECONDS.format("updated_at")} FROM users
        WHERE (NOT is_active OR deleted_at IS NOT NULL) AND updated_at >= %(since)s""",
        {"since": to_datetime(since)},
    )
    return await cursor.fetchall()


async def purge_sessions(connection: Connection, before: int, limit: int) -> int:
    """Deletes sessions that ended or expired before this moment; returns how many, at most `limit`."""
    cursor = await connection.execute(
        """
        DELETE FROM refresh_tokens WHERE id IN (
            SELECT id FROM refresh_tokens WHERE expires_at < %(before)s OR revoked_at < %(before)s
            LIMIT %(limit)s FOR UPDATE SKIP LOCKED)""",
        {"before": to_datetime(before), "limit": limit},
    )
    return cursor.rowcount


def _values(user: User) -> dict[str, Any]:
    times = {"created_at": to_datetime(user.created_at), "updated_at": to_datetime(user.updated_at)}
    return user._asdict() | times


def _settings(*columns: Any) -> UserSettings:
    settings = UserSettings(*columns)
    return settings._replace(theme=Theme(settings.theme))
