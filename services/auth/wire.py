"""Converts auth's rows and keys to and from the messages of the contract; no other file does."""

from typing import Any

from focusmesh.auth.v1 import (
    contact_service_pb2,
    key_service_pb2,
    preference_pb2,
    session_pb2,
    user_pb2,
    user_service_pb2,
)

from mesh.rpc.etag import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime import clock
from services.auth.model import (
    DEFAULT_DAY_START,
    DEFAULT_TIME_ZONE,
    Contact,
    MailKind,
    Theme,
    User,
    UserPreferences,
    UserSettings,
    WeekStart,
)
from services.auth.rules.tokens import AccessToken, PublicKey

_THEMES_TO_PB = {
    Theme.LIGHT.value: user_pb2.THEME_LIGHT,
    Theme.DARK.value: user_pb2.THEME_DARK,
    Theme.SYSTEM.value: user_pb2.THEME_SYSTEM,
}
_THEMES_FROM_PB = {number: theme for theme, number in _THEMES_TO_PB.items()}
_WEEK_STARTS_TO_PB = {
    WeekStart.MONDAY.value: user_pb2.WEEK_START_MONDAY,
    WeekStart.SATURDAY.value: user_pb2.WEEK_START_SATURDAY,
    WeekStart.SUNDAY.value: user_pb2.WEEK_START_SUNDAY,
}
_MAIL_KINDS_TO_PB = {
    MailKind.VERIFY_EMAIL.value: contact_service_pb2.MAIL_KIND_VERIFY_EMAIL,
    MailKind.RESET_PASSWORD.value: contact_service_pb2.MAIL_KIND_RESET_PASSWORD,
}
_FROM_PB: dict[str, dict[Any, str]] = {
    "theme": _THEMES_FROM_PB,
    "week_start": {number: week_start for week_start, number in _WEEK_STARTS_TO_PB.items()},
}
"""Values of the model by those of the contract, of settings that are enums."""


def user_to_pb(user: User) -> user_pb2.User:
    """The message of an account."""
    message = user_pb2.User(
        id=user.id,
        email=user.email,
        name=user.name,
        time_zone=user.time_zone,
        day_start_minutes=user.day_start_minutes,
        etag=etag(user.version),
        email_verified=user.email_verified,
    )
    clock.set_timestamp(message.create_time, user.created_at)
    clock.set_timestamp(message.update_time, user.updated_at)
    return message


def settings_to_pb(settings: UserSettings) -> user_pb2.UserSettings:
    """The message of the settings."""
    message = user_pb2.UserSettings(
        default_pomodoro_minutes=settings.default_pomodoro_minutes,
        default_short_break_minutes=settings.default_short_break_minutes,
        default_long_break_minutes=settings.default_long_break_minutes,
        long_break_interval=settings.long_break_interval,
        theme=_THEMES_TO_PB[settings.theme],
        auto_start_breaks=settings.auto_start_breaks,
        auto_start_focus=settings.auto_start_focus,
        week_start=_WEEK_STARTS_TO_PB[settings.week_start],
        etag=etag(settings.version),
    )
    clock.set_timestamp(message.update_time, settings.updated_at)
    return message


def preferences_to_pb(preferences: UserPreferences) -> preference_pb2.UserPreferences:
    """The preferences."""
    return preference_pb2.UserPreferences(
        **preferences._asdict() | {"week_start": _WEEK_STARTS_TO_PB[preferences.week_start]}
    )


def contact_to_pb(contact: Contact) -> contact_service_pb2.Contact:
    """Where a user is reached."""
    return contact_service_pb2.Contact(**contact._asdict())


def mail_token_to_pb(token: str, kind: str, expires_at: int) -> contact_service_pb2.IssueMailTokenResponse:
    """The token of a mail. expires_at: microseconds since the epoch."""
    message = contact_service_pb2.IssueMailTokenResponse(token=token, kind=_MAIL_KINDS_TO_PB[kind])
    clock.set_timestamp(message.expire_time, expires_at)
    return message


def user_changes_from_pb(request: user_service_pb2.UpdateMeRequest) -> dict[str, Any]:
    """The new values of the fields that the mask names; unset means cleared."""
    values = {
        "name": request.name,
        "time_zone": request.time_zone or DEFAULT_TIME_ZONE,
        "day_start_minutes": request.day_start_minutes if request.HasField("day_start_minutes") else DEFAULT_DAY_START,
    }
    return {path: values[path] for path in update_paths(request)}


def settings_changes_from_pb(request: user_service_pb2.UpdateSettingsRequest) -> dict[str, Any]:
    """The new values of the settings that the mask names; unset means the first value."""
    first = UserSettings()
    changes = {path: getattr(request if request.HasField(path) else first, path) for path in update_paths(request)}  # type: ignore[arg-type]  # names of fields
    for name, from_pb in _FROM_PB.items():
        if name in changes and request.HasField(name):  # type: ignore[arg-type]  # names of fields
            changes[name] = from_pb[changes[name]]
    return changes


def tokens_to_pb(access: AccessToken, refresh_token: str, refresh_expires: int) -> session_pb2.Tokens:
    """The message of a session's tokens. refresh_expires: microseconds since the epoch."""
    message = session_pb2.Tokens(access_token=access.text, refresh_token=refresh_token)
    clock.set_timestamp(message.access_token_expire_time, access.expires)
    clock.set_timestamp(message.refresh_token_expire_time, refresh_expires)
    return message


def key_to_pb(key: PublicKey) -> key_service_pb2.JsonWebKey:
    """A public key as a JSON Web Key."""
    return key_service_pb2.JsonWebKey(kty="OKP", crv="Ed25519", kid=key.kid, use="sig", alg="EdDSA", x=key.x)
