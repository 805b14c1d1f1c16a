"""Accounts and settings: valid values, and changes."""

from collections.abc import Mapping
from typing import Any

from mesh.recurrence.zones import TIME_ZONES
from mesh.rpc.etag import check_etag, next_version
from mesh.runtime.errors import FieldViolation
from services.auth.errors import TimeZoneUnknown
from services.auth.model import DEFAULT_TIME_ZONE, Account, User, UserSettings


def time_zone(name: str) -> str:
    """The IANA name, exactly as given; raises TimeZoneUnknown."""
    if name not in TIME_ZONES:
        raise TimeZoneUnknown(
            time_zone=name, fields=[FieldViolation("time_zone", "must be a name of the IANA time zone database")]
        )
    return name


def register(user_id: str, email: str, name: str, zone: str, day_start_minutes: int, *, now: int) -> User:
    """A new account; raises TimeZoneUnknown."""
    return User(
        id=user_id,
        email=email,
        name=name or None,
        time_zone=time_zone(zone or DEFAULT_TIME_ZONE),
        day_start_minutes=day_start_minutes,
        version=1,
        created_at=now,
        updated_at=now,
    )


def update_user(user: User, changes: Mapping[str, Any], *, now: int, etag: str | None) -> User:
    """The account with these fields changed; `user` itself when nothing differs.

    changes: new values by the names of the model. Raises VersionConflict and TimeZoneUnknown.
    """
    check_etag(etag, user.version)
    changed = user._replace(**changes)
    if "name" in changes:
        changed = changed._replace(name=changes["name"] or None)
    if "time_zone" in changes:
        changed = changed._replace(time_zone=time_zone(changes["time_zone"]))
    return user if changed == user else next_version(changed, now)


def update_account(account: Account, changes: Mapping[str, Any], *, now: int, etag: str | None) -> Account:
    """The account with these fields of the user changed; `account` itself when nothing differs."""
    changed = update_user(account.user, changes, now=now, etag=etag)
    return account if changed is account.user else account._replace(user=changed)


def verify(user: User, *, now: int) -> User:
    """The account whose address was proved to be the user's; `user` itself when it was before."""
    return user if user.email_verified else next_version(user, now, email_verified=True)


def forget(user: User, *, now: int) -> User:
    """The version of a deleted account that is published: without the name."""
    return next_version(user, now, name=None)


def update_settings(settings: UserSettings, changes: Mapping[str, Any], *, now: int, etag: str | None) -> UserSettings:
    """The settings with these changed; `settings` itself when nothing differs. Raises VersionConflict."""
    check_etag(etag, settings.version)
    changed = settings._replace(**changes)
    return settings if changed == settings else next_version(changed, now)
