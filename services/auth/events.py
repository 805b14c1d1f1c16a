"""The events of auth: a user as other services need to know them, never the e-mail address."""

from mesh.events.outbox import Event
from mesh.runtime.ids import new_id
from services.auth.model import Account, Mail, User, WeekStart

TOPICS = ("user-events",)


def user_registered(user: User) -> Event:
    """For `Register`."""
    return _event("user-registered", user)


def user_updated(account: Account) -> Event:
    """For `UpdateMe`, and for another week start."""
    return _event("user-updated", account.user, account.week_start)


def user_deleted(user: User) -> Event:
    """An account was deleted: every service erases what it stores of the user."""
    return _event("user-deleted", user)


def mail_requested(mail: Mail) -> Event:
    """A mail must be sent; whoever sends it asks for address and token, which are never in an event."""
    return Event(
        id=new_id(),
        type="mail-requested",
        source="auth",
        topics=TOPICS,
        user_id=mail.user_id,
        subject=mail.id,
        subject_name="mail_id",
        version=1,
        time=mail.requested_at,
        payload={"mail_id": mail.id, "kind": str(mail.kind)},
    )


def _event(kind: str, user: User, week_start: str = WeekStart.MONDAY) -> Event:
    return Event(
        id=new_id(),
        type=kind,
        source="auth",
        topics=TOPICS,
        user_id=user.id,
        subject=user.id,
        subject_name="user_id",
        version=user.version,
        time=user.updated_at,
        payload={
            "name": user.name,
            "time_zone": user.time_zone,
            "day_start_minutes": user.day_start_minutes,
            "week_start": str(week_start),
        },
    )
