"""Users, credentials, sessions and settings. Instants are integer microseconds since the epoch, UTC."""

from enum import StrEnum
from typing import NamedTuple

from mesh.runtime.clock import DAY, SECOND

SESSION_LIFE = 30 * DAY
"""A session ends when its refresh token is not used for this long."""
REFRESH_GRACE = 30 * SECOND
"""How long after an exchange the previous token still returns the newest: its client may have lost the response."""
LEAST_GUEST_HOURS, MOST_GUEST_HOURS = 24, 72
DEFAULT_TIME_ZONE = "UTC"
DEFAULT_DAY_START = 0


class User(NamedTuple):
    """One account, without its secret."""

    id: str
    email: str
    name: str | None
    time_zone: str
    day_start_minutes: int
    version: int
    created_at: int
    updated_at: int
    email_verified: bool = False
    """Whether mail to the address has reached its user."""


class Account(NamedTuple):
    """An account with what its events show of the settings."""

    user: User
    week_start: str


class Credentials(NamedTuple):
    """The account and password hash that a login is checked against."""

    user_id: str
    password_hash: str
    password_version: int
    """Raised by every new password, and not by the same one hashed anew."""
    email_verified: bool
    active: bool


class Contact(NamedTuple):
    """Where a user is reached, for the service that sends."""

    email: str
    email_verified: bool
    name: str | None
    time_zone: str


class Owner(NamedTuple):
    """Whose account an address is."""

    user_id: str
    email_verified: bool


class MailKind(StrEnum):
    """What a mail with a token is for; the values are those of the columns `kind` and of events."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 (no password)


class Mail(NamedTuple):
    """A mail that another service is to send, with a token that is made when it does."""

    id: str
    user_id: str
    kind: str
    requested_at: int


class MailRequest(NamedTuple):
    """A mail that somebody asked for, who may have no account."""

    id: str
    email: str
    kind: str
    requested_at: int
    traceparent: str


class Registration(NamedTuple):
    """An account that somebody asked for, whose address may have one."""

    user: User
    password_hash: str
    traceparent: str


class Session(NamedTuple):
    """One sign-in, or one guest: a chain of refresh tokens of which only the newest one is valid."""

    id: str
    """The `sid` of its access tokens."""
    user_id: str
    """Of a guest: the same as `id`."""
    generation: int
    """Position of the newest refresh token in the chain, from 1."""
    issued_at: int
    """When the newest refresh token was made and the one before it exchanged."""
    expires_at: int
    revoked_at: int | None


class Theme(StrEnum):
    """Colours of the apps; the values are those of the column `theme`."""

    LIGHT = "light"
    DARK = "dark"
    SYSTEM = "system"


class WeekStart(StrEnum):
    """On which day the weeks of a user begin; the values are those of the column `week_start` and of events."""

    MONDAY = "monday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class UserSettings(NamedTuple):
    """A user's settings; the defaults are those of a new account and of a cleared setting."""

    default_pomodoro_minutes: int = 25
    default_short_break_minutes: int = 5
    default_long_break_minutes: int = 15
    long_break_interval: int = 4
    theme: str = Theme.LIGHT.value
    auto_start_breaks: bool = True
    auto_start_focus: bool = False
    week_start: str = WeekStart.MONDAY.value
    version: int = 1
    updated_at: int = 0


class UserPreferences(NamedTuple):
    """The preferences of a user that other services need."""

    time_zone: str
    day_start_minutes: int
    default_pomodoro_minutes: int
    default_short_break_minutes: int
    default_long_break_minutes: int
    long_break_interval: int
    auto_start_breaks: bool
    auto_start_focus: bool
    week_start: str
