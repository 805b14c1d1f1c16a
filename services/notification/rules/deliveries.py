"""Through what a reminder or an event is delivered, and what becomes of a delivery when its time has come."""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple
from uuid import UUID, uuid5

from mesh.rpc.etag import next_version
from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.ids import new_id
from services.notification.model import (
    Cause,
    Channel,
    Item,
    Kind,
    Notification,
    Outcome,
    Planned,
    Recipient,
    Reminder,
    ReminderState,
    ReminderStatus,
    Status,
    Targets,
    TaskState,
)
from services.notification.rules.quiet import quiet_until
from services.notification.rules.refusals import refusal

DEFAULTS: Mapping[str, tuple[bool, bool]] = {
    Channel.IN_APP.value: (True, False),
    Channel.EMAIL.value: (False, False),
    Channel.WEBPUSH.value: (True, False),
    Channel.SMS.value: (False, False),
    Channel.WEBHOOK.value: (True, False),
}
"""Reminders and updates of a new user, by channel."""
LATE_SECONDS = 61
"""Later than a minute, in whole seconds; a minute is normal."""
MOST_ITEMS = 50
"""Items of one message; it says how many there are in all."""
MOST_COMBINED = 2000
"""Deliveries of one message; what is more goes into another one."""
MISSED = "MISSED"
_QUIET = frozenset({Channel.EMAIL.value, Channel.WEBPUSH.value, Channel.SMS.value})
"""What makes a noise: the app shows things without, and webhooks are for programs."""
_ALONE = frozenset({Channel.WEBHOOK.value})
"""Channels whose messages are never combined: the body of each is its own event."""
_TARGETS = frozenset({Channel.WEBPUSH.value, Channel.WEBHOOK.value})
_NO_TARGET = {
    Channel.WEBPUSH.value: "NO_PUSH_SUBSCRIPTION",
    Channel.WEBHOOK.value: "NO_WEBHOOK",
    Channel.SMS.value: "NO_PHONE_NUMBER",
}


def of_reminder(reminder: Reminder, event: str | None) -> Cause:
    """A reminder as a cause. event: the CloudEvent that reports it, hexadecimal."""
    return Cause(
        source_id=reminder.id,
        user_id=reminder.user_id,
        kind=Kind.REMINDER,
        scheduled_for=reminder.scheduled_for,
        payload=reminder.payload,
        task_id=reminder.task_id,
        event_id=reminder.event_id,
        reminder_id=reminder.id,
        expires_at=reminder.expires_at,
        event=event,
        named=reminder.type if reminder.task_id is None else None,
    )


def wants(recipient: Recipient, channel: str, kind: str) -> bool:
    """Whether a user's preferences have a channel for a kind; the account's own messages cannot be turned off."""
    if kind == Kind.ACCOUNT:
        return True
    reminders, updates = recipient.channels.get(channel) or DEFAULTS[channel]
    return reminders if kind == Kind.REMINDER else updates


def unsubscribed(recipient: Recipient, kind: Kind, *, now: int) -> Recipient:
    """The user without mails of a kind, whether there were any or not."""
    reminders, updates = recipient.channels.get(Channel.EMAIL) or DEFAULTS[Channel.EMAIL]
    wanted = [reminders and kind != Kind.REMINDER, updates and kind != Kind.UPDATE]
    return next_version(recipient, now, channels={**recipient.channels, Channel.EMAIL.value: wanted})


def made_of(
    cause: Cause, targets: Targets, known: Mapping[str, Recipient], *, now: int, settle_seconds: float
) -> list[Notification]:
    """The deliveries of a cause, one for each channel and target.

    known: among others the user. What is late already waits for `settle_seconds`, so that what else an outage held
    back joins it in one message.
    """
    recipient = known[cause.user_id]
    if cause.event_id is not None and cause.named in recipient.channels:
        cause = cause._replace(named=None)  # whoever ended mails does not get them again with the next occurrence
    is_late = now - cause.scheduled_for >= LATE_SECONDS * SECOND
    at = max(now, cause.scheduled_for) + (round(settle_seconds * SECOND) if is_late else 0)
    made = []
    for channel in Channel:
        if channel != cause.named and not wants(recipient, channel, cause.kind):
            continue
        for target in _targets(channel, cause, recipient, targets):
            made.append(_new(cause, channel, target, now=now, at=at))
    return made


def of_account(cause: Cause, channel: str, *, now: int) -> Notification:
    """The delivery of a message for an account, through the one channel that it is for."""
    return _new(cause, channel, None, now=now, at=now)


def _targets(channel: str, cause: Cause, recipient: Recipient, targets: Targets) -> Sequence[str | None]:
    """The targets of a channel; one that its user named and that has none shows so, any other is left out."""
    if channel in _TARGETS:
        return targets.of(channel) or ([None] if channel == cause.named else [])
    has_none = channel == Channel.SMS and recipient.phone_number is None
    return [] if has_none and channel != cause.named else [None]


def _new(cause: Cause, channel: str, target_id: str | None, *, now: int, at: int) -> Notification:
    payload = {**cause.payload, "named": True} if channel == cause.named else cause.payload
    return Notification(
        id=new_id(),
        user_id=cause.user_id,
        task_id=cause.task_id,
        event_id=cause.event_id,
        reminder_id=cause.reminder_id,
        source_id=cause.source_id,
        notification_type=cause.kind,
        channel=channel,
        target_id=target_id,
        status=Status.PENDING,
        outcome=None,
        payload=payload,
        cause=cause.event if channel == Channel.WEBHOOK else None,
        scheduled_for=cause.scheduled_for,
        deferred_until=None,
        expires_at=cause.expires_at,
        next_attempt_at=at,
        leased=False,
        message_id=None,
        attempts=0,
        created_at=now,
        sent_at=None,
        error_message=None,
        read_at=None,
    )


def decide(
    row: Notification,
    recipient: Recipient,
    state: TaskState | Planned | None,
    reminder: ReminderState | None,
    *,
    now: int,
    grace_seconds: int,
) -> Notification:
    """What becomes of a delivery whose time has come: as it is, to be sent; or suppressed, missed, failed, deferred."""
    if reason := _suppression(row, recipient, state, reminder):
        return _over(row, Outcome.SUPPRESSED, reason)
    if now >= _last(row, grace_seconds):
        if row.attempts:
            return _over(row, Outcome.FAILED, row.error_message or "no answer")
        return _over(row, Outcome.MISSED, MISSED)
    if row.channel in _QUIET and row.notification_type != Kind.ACCOUNT:
        until = quiet_until(recipient, now)
        if until is not None:
            return _deferred(row, until)
    return row


def whole(rows: Sequence[Notification], decided: Sequence[Notification]) -> list[Notification]:
    """What becomes of deliveries, of which those that were tried together are sent, deferred or dropped together.

    A message that may have arrived must not come again with less in it.
    """
    made = dict(zip((row.id for row in rows), decided, strict=True))
    tried: dict[str, list[Notification]] = {}
    for row in rows:
        if row.message_id is not None:
            tried.setdefault(row.message_id, []).append(row)
    for message in tried.values():
        if any(made[row.id] is row for row in message):
            made.update((row.id, row) for row in message)
        elif until := max((made[row.id].next_attempt_at or 0 for row in message), default=0):
            made.update((row.id, _deferred(row, until)) for row in message)
    return [made[row.id] for row in rows]


def _deferred(row: Notification, until: int) -> Notification:
    return row._replace(status=Status.PENDING, deferred_until=until, next_attempt_at=until, leased=False)


def _suppression(
    row: Notification, recipient: Recipient, state: TaskState | Planned | None, reminder: ReminderState | None
) -> str | None:
    if recipient.is_deleted:
        return "USER_DELETED"
    if row.payload.get("again"):
        return None  # its user has asked for it
    if reminder is not None and (reason := _withdrawal(row, reminder)):
        return reason
    if not row.payload.get("named") and not wants(recipient, row.channel, row.notification_type):
        return "CHANNEL_OFF"
    has_phone = recipient.phone_number is not None or row.notification_type == Kind.ACCOUNT
    if (row.channel in _TARGETS and row.target_id is None) or (row.channel == Channel.SMS and not has_phone):
        return _NO_TARGET[row.channel]
    return refusal(row.payload, state) if row.notification_type == Kind.REMINDER else None


def _withdrawal(row: Notification, reminder: ReminderState) -> str | None:
    """Why nothing of a reminder is sent any more that was cancelled or snoozed while it was tried."""
    if reminder.status == ReminderStatus.CANCELLED:
        return reminder.error_message
    return "SNOOZED" if reminder.scheduled_for != row.scheduled_for else None


def _last(row: Notification, grace_seconds: int) -> int:
    """Until when it may be sent: deferring is not lateness, but what its event outlived is of no use."""
    last = (row.deferred_until or row.scheduled_for) + grace_seconds * SECOND
    return last if row.expires_at is None else min(last, row.expires_at)


def _over(row: Notification, outcome: Outcome, reason: str) -> Notification:
    return row._replace(status=Status.FAILED, outcome=outcome, error_message=reason, next_attempt_at=None, leased=False)


def restored(row: Notification, now: int) -> Notification:
    """A delivery that was suppressed by a state of its task or event that was not the last one.

    What it was tried with may not come back: it is a message of its own then, or a receiver would drop it as a
    repetition of the one that it knows.
    """
    message_id = row.message_id and str(uuid5(UUID(row.message_id), row.id))
    return row._replace(
        status=Status.PENDING, outcome=None, error_message=None, next_attempt_at=now, message_id=message_id
    )


def removed(row: Notification, reason: str) -> Notification:
    """A delivery that is not to be sent any more."""
    return _over(row, Outcome.SUPPRESSED, reason)


def late_by(row: Notification, at: int) -> int:
    """Seconds between when it was to be sent and an instant."""
    return max(0, at - (row.deferred_until or row.scheduled_for)) // SECOND


def sent(row: Notification, at: int) -> Notification:
    """A delivery that was sent now."""
    outcome = Outcome.LATE if late_by(row, at) >= LATE_SECONDS else Outcome.ON_TIME
    return row._replace(
        status=Status.SENT, outcome=outcome, sent_at=at, error_message=None, next_attempt_at=None, leased=False
    )


def shown(row: Notification, now: int) -> Notification:
    """A delivery as the app shows it: what was missed too, and says so."""
    return row._replace(sent_at=now) if row.outcome == Outcome.MISSED else sent(row, now)


def failed(row: Notification, answer: str, *, now: int, wait: float | None) -> Notification:
    """A delivery whose attempt failed. wait: seconds until the next one; None when there is none."""
    if wait is None:
        return _over(row, Outcome.FAILED, answer)
    at = now + round(wait * SECOND)
    return row._replace(status=Status.FAILED, error_message=answer, next_attempt_at=at, leased=False)


def messages(rows: Iterable[Notification]) -> list[list[Notification]]:
    """The deliveries of one target, as the messages that they go out with.

    One that was tried before goes with the same others as before; what is new is combined, but not for webhooks.
    """
    ordered = sorted(rows, key=lambda row: (row.message_id or "", row.notification_type == Kind.ACCOUNT))
    made = []
    for (message_id, is_account), group in groupby(
        ordered, key=lambda row: (row.message_id or "", row.notification_type == Kind.ACCOUNT)
    ):
        together = sorted(group, key=lambda row: (row.scheduled_for, row.id))
        size = 1 if not message_id and (is_account or together[0].channel in _ALONE) else MOST_COMBINED
        made += [together[first : first + size] for first in range(0, len(together), size)]
    return made


def leased(rows: Sequence[Notification], *, until: int) -> list[Notification]:
    """Deliveries as one message that is being sent. until: when another process may send it again, with the same id."""
    message_id = rows[0].message_id or str(uuid5(UUID(rows[0].id), "message"))
    return [
        row._replace(
            status=Status.PENDING,
            message_id=message_id,
            attempts=row.attempts + 1,
            next_attempt_at=until,
            leased=True,
        )
        for row in rows
    ]


def items(rows: Sequence[Notification], now: int) -> list[Item]:
    """What a message tells of: the first of its deliveries, by time."""
    return [
        Item(
            title=row.payload.get("title", ""),
            note=row.payload.get("note"),
            scheduled_for=row.scheduled_for,
            due_date=row.payload.get("due_date"),
            event_type=row.payload.get("event_type"),
            task_id=row.task_id,
            event_id=row.event_id,
            reminder_id=row.reminder_id,
            is_late=late_by(row, now) >= LATE_SECONDS,
        )
        for row in rows[:MOST_ITEMS]
    ]


def again(row: Notification, now: int) -> Notification:
    """A delivery that has ended, to be sent once more, whatever became of its task since."""
    return row._replace(
        status=Status.PENDING,
        outcome=None,
        payload={**row.payload, "again": True},
        deferred_until=now,
        expires_at=None,
        next_attempt_at=now,
        leased=False,
        sent_at=None,
        error_message=None,
    )


class Retries(NamedTuple):
    """How often, and after how long, a channel tries again."""

    first_seconds: float
    factor: float
    longest_seconds: float
    most: int


RETRIES = {
    Channel.EMAIL.value: Retries(5, 2, 600, 100),
    Channel.WEBPUSH.value: Retries(5, 2, 600, 50),
    Channel.SMS.value: Retries(10, 2, 600, 10),
    Channel.WEBHOOK.value: Retries(5, 5, 4 * 3600, 12),
}


def retry_seconds(channel: str, attempts: int, asked: float | None) -> float | None:
    """Seconds until the next attempt after so many; None when there is none. asked: what the provider asks for.

    Spread, so that the messages of an outage do not come back together.
    """
    retries = RETRIES[channel]
    if attempts >= retries.most:
        return None
    longest = min(retries.first_seconds * retries.factor ** min(attempts - 1, 30), retries.longest_seconds)
    waits = random.uniform(longest / 2, longest)  # noqa: S311 (not a secret)
    return max(waits, min(asked or 0.0, DAY / SECOND))
