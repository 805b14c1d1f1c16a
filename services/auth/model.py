"""What auth knows: users, their credentials, sessions and settings. Instants are microseconds since the epoch, UTC."""

from enum import StrEnum
from typing import NamedTuple

from mesh.runtime.clock import DAY, SECOND

SESSION_LIFE = 30 * DAY
"""A session ends when its refresh token is not used for this long."""
REFRESH_GRACE = 30 * SECOND
"""For this long after a rotation the token before the newest still answers: its client may have lost the answer."""
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


class Credentials(NamedTuple):
    """What a login is checked against."""

    user_id: str
    password_hash: str
    active: bool


class Session(NamedTuple):
    """One sign-in: a chain of refresh tokens of which only the newest one's hash is kept."""

    id: str
    """The `sid` of its access tokens."""
    user_id: str
    generation: int
    """Place of the newest refresh token in the chain, from 1."""
    issued_at: int
    """When the newest refresh token was made, so also when the one before it was exchanged."""
    expires_at: int
    revoked_at: int | None


class Theme(StrEnum):
    """Colours of the apps, as the column has them."""

    LIGHT = "light"
    DARK = "dark"
    SYSTEM = "system"


class UserSettings(NamedTuple):
    """A user's settings; the defaults are those of a new account, and what a cleared setting goes back to."""

    default_pomodoro_minutes: int = 25
    default_short_break_minutes: int = 5
    default_long_break_minutes: int = 15
    long_break_interval: int = 4
    theme: str = Theme.LIGHT.value
    version: int = 1
    updated_at: int = 0
