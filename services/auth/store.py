"""SQL of auth: one statement per function. `get_…` raises when it finds nothing, `find_…` returns None."""

from mesh.database.columns import Columns, microseconds, namedtuple_row
from mesh.database.connection import Connection
from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import to_datetime
from services.auth.errors import EmailTaken, RefreshTokenInvalid, UserInactive, UserNotFound
from services.auth.model import Account, Credentials, Session, User, UserPreferences, UserSettings

USERS = Columns(
    "users",
    User,
    {
        "id": "uuid",
        "email": "text",
        "name": "text",
        "time_zone": "text",
        "day_start_minutes": "integer",
        "version": "bigint",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    fixed={"id", "email", "created_at"},
)
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
SETTINGS = Columns(
    "user_settings",
    UserSettings,
    {
        "default_pomodoro_minutes": "integer",
        "default_short_break_minutes": "integer",
        "default_long_break_minutes": "integer",
        "long_break_interval": "integer",
        "theme": "text",
        "auto_start_breaks": "boolean",
        "auto_start_focus": "boolean",
        "week_start": "text",
        "version": "bigint",
        "updated_at": "timestamptz",
    },
)

_ACTIVE = "users.is_active AND users.deleted_at IS NULL"

_INSERT_USER = f"""
    INSERT INTO users ({USERS.names}, password_hash) VALUES ({USERS.values}, %(password_hash)s)
    ON CONFLICT DO NOTHING
    RETURNING id"""


async def insert_user(tx: Connection, user: User, password_hash: str, side_effects: SideEffects) -> None:
    """Writes a new account; raises EmailTaken when another one has the address, in whatever case."""
    try:
        await outbox.write(tx, _INSERT_USER, USERS.parameters(user) | {"password_hash": password_hash}, side_effects)
    except WriteConflict:
        raise EmailTaken from None


async def insert_settings(tx: Connection, user_id: str, now: int) -> None:
    """Writes a new account's settings, with the defaults of the table."""
    await tx.execute(
        "INSERT INTO user_settings (user_id, created_at, updated_at) VALUES (%(user_id)s, %(now)s, %(now)s)",
        {"user_id": user_id, "now": to_datetime(now)},
    )


_GET_USER = f"SELECT {USERS.select} FROM users WHERE id = %(user_id)s AND {_ACTIVE}"


async def get_user(connection: Connection, user_id: str) -> User:
    """Reads an account; raises UserInactive when it was deactivated or deleted, or is not there."""
    cursor = USERS.cursor(connection)
    await cursor.execute(_GET_USER, {"user_id": user_id})
    user = await cursor.fetchone()
    if user is None:
        raise UserInactive
    return user


_GET_ACCOUNT = f"""
    SELECT {USERS.select}, week_start FROM users JOIN user_settings ON user_id = users.id
    WHERE users.id = %(user_id)s AND {_ACTIVE}"""


async def get_account(connection: Connection, user_id: str) -> Account:
    """Reads an account with what its events show; raises UserInactive like `get_user`."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(_GET_ACCOUNT, {"user_id": user_id})
    row = await cursor.fetchone()
    if row is None:
        raise UserInactive
    *user, week_start = row
    return Account(User._make(user), week_start)


_SAVE_USER = f"""
    UPDATE users SET {USERS.assignments}
    WHERE id = %(id)s AND version = %(version)s - 1 AND {_ACTIVE}
    RETURNING id"""


async def save_user(connection: Connection, user: User, side_effects: SideEffects) -> None:
    """Writes the next version of an account; raises WriteConflict when another write came first."""
    await outbox.write(connection, _SAVE_USER, USERS.parameters(user), side_effects)


_UNPUBLISHED_DELETIONS = f"""
    SELECT {USERS.select} FROM users WHERE deleted_at IS NOT NULL AND deletion_published_at IS NULL
    ORDER BY deleted_at LIMIT %(limit)s"""


async def list_unpublished_deletions(connection: Connection, limit: int) -> list[User]:
    """Reads deleted accounts whose deletion is not published, the oldest deletion first."""
    cursor = USERS.cursor(connection)
    await cursor.execute(_UNPUBLISHED_DELETIONS, {"limit": limit})
    return await cursor.fetchall()


_PUBLISH_DELETION = """
    UPDATE users SET version = %(version)s, updated_at = %(updated_at)s, deletion_published_at = %(updated_at)s
    WHERE id = %(id)s::uuid AND version = %(version)s - 1 AND deleted_at IS NOT NULL AND deletion_published_at IS NULL
    RETURNING id"""


async def publish_deletion(tx: Connection, user: User, side_effects: SideEffects) -> None:
    """Publishes the deletion of an account; raises WriteConflict when that was done meanwhile."""
    await outbox.write(tx, _PUBLISH_DELETION, USERS.parameters(user), side_effects)


_FIND_CREDENTIALS = f"SELECT id::text, password_hash, {_ACTIVE} FROM users WHERE lower(email) = lower(%(email)s)"


async def find_credentials(connection: Connection, email: str) -> Credentials | None:
    """Reads what a login with this address is checked against; the address in whatever case."""
    cursor = connection.cursor(row_factory=namedtuple_row(Credentials))
    await cursor.execute(_FIND_CREDENTIALS, {"email": email})
    return await cursor.fetchone()


async def replace_password_hash(connection: Connection, user_id: str, old: str, new: str) -> None:
    """Stores the same password hashed with today's parameters, unless the password was changed meanwhile."""
    await connection.execute(
        "UPDATE users SET password_hash = %(new)s WHERE id = %(user_id)s AND password_hash = %(old)s",
        {"user_id": user_id, "old": old, "new": new},
    )


_GET_SETTINGS = f"""
    SELECT {SETTINGS.select} FROM user_settings JOIN users ON users.id = user_id
    WHERE user_id = %(user_id)s AND {_ACTIVE}"""


async def get_settings(connection: Connection, user_id: str) -> UserSettings:
    """Reads a user's settings; raises UserInactive when the account was deactivated or deleted, or is not there."""
    cursor = SETTINGS.cursor(connection)
    await cursor.execute(_GET_SETTINGS, {"user_id": user_id})
    settings = await cursor.fetchone()
    if settings is None:
        raise UserInactive
    return settings


_GET_PREFERENCES = f"""
    SELECT {", ".join(UserPreferences._fields)} FROM users JOIN user_settings ON user_id = users.id
    WHERE users.id = %(user_id)s AND {_ACTIVE}"""


async def get_preferences(connection: Connection, user_id: str) -> UserPreferences:
    """Reads what other services must know of a user; raises UserNotFound when the account is closed or not there."""
    cursor = connection.cursor(row_factory=namedtuple_row(UserPreferences))
    await cursor.execute(_GET_PREFERENCES, {"user_id": user_id})
    preferences = await cursor.fetchone()
    if preferences is None:
        raise UserNotFound(user_id=user_id)
    return preferences


_SAVE_SETTINGS = f"""
    UPDATE user_settings SET {SETTINGS.assignments} FROM users
    WHERE user_id = %(user_id)s AND user_settings.version = %(version)s - 1 AND users.id = user_id AND {_ACTIVE}
    RETURNING user_id"""


async def save_settings(
    connection: Connection, user_id: str, settings: UserSettings, side_effects: SideEffects
) -> None:
    """Writes the next version of a user's settings; raises WriteConflict when another write came first."""
    await outbox.write(connection, _SAVE_SETTINGS, SETTINGS.parameters(settings) | {"user_id": user_id}, side_effects)


_INSERT_SESSION = f"""
    INSERT INTO refresh_tokens ({SESSIONS.names}, token_hash)
    SELECT {SESSIONS.values}, %(token_hash)s FROM users WHERE id = %(user_id)s AND {_ACTIVE}"""


async def insert_session(connection: Connection, session: Session, token_hash: str) -> bool:
    """Begins a session with its first refresh token; returns False when the account was closed meanwhile."""
    cursor = await connection.execute(_INSERT_SESSION, SESSIONS.parameters(session) | {"token_hash": token_hash})
    return cursor.rowcount == 1


_EXCHANGE_TOKEN = f"""
    UPDATE refresh_tokens SET token_hash = %(new_hash)s, generation = generation + 1, issued_at = %(now)s,
        expires_at = %(expires)s, last_used_at = %(now)s
    FROM users
    WHERE refresh_tokens.id = %(session_id)s AND token_hash = %(old_hash)s AND revoked_at IS NULL
        AND expires_at > %(now)s AND users.id = user_id AND {_ACTIVE}
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
    WHERE refresh_tokens.id = %(session_id)s AND {_ACTIVE}"""


async def get_session(connection: Connection, session_id: str) -> Session:
    """Reads a session, ended or not; raises RefreshTokenInvalid when it is not there or its account was closed."""
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


_SESSIONS_ENDED = f"""
    SELECT id::text, {microseconds("revoked_at")} FROM refresh_tokens WHERE revoked_at >= %(since)s"""


async def sessions_ended_since(connection: Connection, since: int) -> list[tuple[str, int]]:
    """Lists the sessions that were ended at or after this instant, each with the instant of its end."""
    cursor = await connection.execute(_SESSIONS_ENDED, {"since": to_datetime(since)})
    return await cursor.fetchall()


_USERS_CLOSED = f"""
    SELECT id::text, {microseconds("updated_at")} FROM users
    WHERE (NOT is_active OR deleted_at IS NOT NULL) AND updated_at >= %(since)s"""


async def users_closed_since(connection: Connection, since: int) -> list[tuple[str, int]]:
    """Lists the accounts that were deactivated or deleted at or after this instant, each with its last change."""
    cursor = await connection.execute(_USERS_CLOSED, {"since": to_datetime(since)})
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
