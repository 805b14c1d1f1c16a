"""SQL of accounts, and of what their users set."""

from mesh.database.columns import Columns, microseconds, namedtuple_row
from mesh.database.connection import Connection
from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import to_datetime
from services.auth.errors import EmailTaken, UserInactive, UserNotFound
from services.auth.model import (
    Account,
    Contact,
    Credentials,
    Mail,
    Owner,
    Registration,
    User,
    UserPreferences,
    UserSettings,
)
from services.auth.store import ACTIVE, mails

_USER_TYPES = {
    "id": "uuid",
    "email": "text",
    "name": "text",
    "time_zone": "text",
    "day_start_minutes": "integer",
    "version": "bigint",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "email_verified": "boolean",
}
USERS = Columns("users", User, _USER_TYPES, fixed={"id", "email", "created_at"})
REGISTRATIONS = Columns("registrations", User, _USER_TYPES)
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

_INSERT_USER = f"""
    INSERT INTO users ({USERS.names}, password_hash) VALUES ({USERS.values}, %(password_hash)s)
    ON CONFLICT DO NOTHING
    RETURNING id"""


_INSERT_SETTINGS = "INSERT INTO user_settings (user_id, created_at, updated_at) VALUES (%(id)s, %(at)s, %(at)s)"


async def insert_account(
    tx: Connection, user: User, password_hash: str, first_mail: Mail, side_effects: SideEffects
) -> None:
    """Writes a new account with the settings of the table and the mail that verifies its address.

    Raises EmailTaken when another account has the address, in whatever case.
    """
    try:
        await outbox.write(tx, _INSERT_USER, USERS.parameters(user) | {"password_hash": password_hash}, side_effects)
    except WriteConflict:
        raise EmailTaken from None
    await tx.execute(_INSERT_SETTINGS, {"id": user.id, "at": to_datetime(user.created_at)})
    await mails.insert_mail(tx, first_mail, SideEffects((), None, ""))


_INSERT_REGISTRATION = f"""
    INSERT INTO registrations ({REGISTRATIONS.names}, password_hash, traceparent)
    VALUES ({REGISTRATIONS.values}, %(password_hash)s, %(traceparent)s)
    RETURNING id"""


async def insert_registration(connection: Connection, registration: Registration, side_effects: SideEffects) -> None:
    """Notes that an account is asked for: the same work whether the address has one."""
    user, password_hash, traceparent = registration
    parameters = REGISTRATIONS.parameters(user) | {"password_hash": password_hash, "traceparent": traceparent}
    await outbox.write(connection, _INSERT_REGISTRATION, parameters, side_effects)


_TAKE_REGISTRATION = f"""
    DELETE FROM registrations WHERE id = (
        SELECT id FROM registrations ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING {REGISTRATIONS.select}, password_hash, traceparent"""


async def take_registration(tx: Connection) -> Registration | None:
    """Removes the oldest registration that no other replica is at; returns it, or None."""
    cursor = tx.cursor(binary=True)
    await cursor.execute(_TAKE_REGISTRATION)
    row = await cursor.fetchone()
    if row is None:
        return None
    *user, password_hash, traceparent = row
    return Registration(User._make(user), password_hash, traceparent)


_GET_USER = f"SELECT {USERS.select} FROM users WHERE id = %(user_id)s AND {ACTIVE}"


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
    WHERE users.id = %(user_id)s AND {ACTIVE}"""


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
    WHERE id = %(id)s AND version = %(version)s - 1 AND {ACTIVE}
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


_FIND_CREDENTIALS = f"""
    SELECT id::text, password_hash, password_version, email_verified, {ACTIVE} FROM users
    WHERE lower(email) = lower(%(email)s)"""


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


async def set_password(tx: Connection, user_id: str, password_hash: str, side_effects: SideEffects) -> None:
    """Sets another password; a login that checked the former one begins no session any more."""
    sql = """
        UPDATE users SET password_hash = %(password_hash)s, password_version = password_version + 1
        WHERE id = %(user_id)s RETURNING id"""
    await outbox.write(tx, sql, {"user_id": user_id, "password_hash": password_hash}, side_effects)


async def find_owner(connection: Connection, email: str) -> Owner | None:
    """Reads whose account an address is, in whatever case; None also when the account is closed."""
    cursor = connection.cursor(row_factory=namedtuple_row(Owner))
    await cursor.execute(
        f"SELECT id::text, email_verified FROM users WHERE lower(email) = lower(%(email)s) AND {ACTIVE}",
        {"email": email},
    )
    return await cursor.fetchone()


async def get_contact(connection: Connection, user_id: str) -> Contact:
    """Reads where a user is reached; raises UserNotFound when the account is closed or not there."""
    cursor = connection.cursor(row_factory=namedtuple_row(Contact))
    await cursor.execute(
        f"SELECT {', '.join(Contact._fields)} FROM users WHERE id = %(user_id)s AND {ACTIVE}", {"user_id": user_id}
    )
    contact = await cursor.fetchone()
    if contact is None:
        raise UserNotFound(user_id=user_id)
    return contact


_GET_SETTINGS = f"""
    SELECT {SETTINGS.select} FROM user_settings JOIN users ON users.id = user_id
    WHERE user_id = %(user_id)s AND {ACTIVE}"""


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
    WHERE users.id = %(user_id)s AND {ACTIVE}"""


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
    WHERE user_id = %(user_id)s AND user_settings.version = %(version)s - 1 AND users.id = user_id AND {ACTIVE}
    RETURNING user_id"""


async def save_settings(
    connection: Connection, user_id: str, settings: UserSettings, side_effects: SideEffects
) -> None:
    """Writes the next version of a user's settings; raises WriteConflict when another write came first."""
    await outbox.write(connection, _SAVE_SETTINGS, SETTINGS.parameters(settings) | {"user_id": user_id}, side_effects)


_USERS_CLOSED = f"""
    SELECT id::text, {microseconds("updated_at")} FROM users
    WHERE (NOT is_active OR deleted_at IS NOT NULL) AND updated_at >= %(since)s"""


async def users_closed_since(connection: Connection, since: int) -> list[tuple[str, int]]:
    """Lists the accounts that were deactivated or deleted at or after this instant, each with its last change."""
    cursor = await connection.execute(_USERS_CLOSED, {"since": to_datetime(since)})
    return await cursor.fetchall()
