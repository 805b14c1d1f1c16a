"""Reminders, notifications, and who is notified through what.

Instants are integer microseconds since the epoch, UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

MOST_PENDING = 1000
"""Of one user; a few more when calls come at once."""
CANCELLED = "CANCELLED"
"""Why a reminder is cancelled that its user cancelled."""
MOST_REPEATS = 500
"""Snoozes of one user a day, UTC, and messages that are sent again, together: each makes deliveries, or attempts."""
MOST_KEPT = 10_000
"""Of one user, in all states; of more, the oldest go."""

MOST_NOTIFICATIONS = 100_000
"""Deliveries of one user that are kept; of more, the oldest go that are over."""


class Channel(StrEnum):
    """Through what somebody is notified; the values are those of columns, events and `reminders.type`."""

    IN_APP = "in_app"
    EMAIL = "email"
    WEBPUSH = "webpush"
    SMS = "sms"
    WEBHOOK = "webhook"


class Kind(StrEnum):
    """What somebody is notified of; the values are those of `notifications.notification_type`."""

    REMINDER = "reminder"
    UPDATE = "update"
    ACCOUNT = "account"


class ReminderStatus(StrEnum):
    """The states of a reminder."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Status(StrEnum):
    """The states of a notification: pending -> sent, pending -> failed -> pending."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class Outcome(StrEnum):
    """How a delivery ended."""

    ON_TIME = "on_time"
    LATE = "late"
    FAILED = "failed"
    MISSED = "missed"
    SUPPRESSED = "suppressed"


class Refusal(StrEnum):
    """Why nothing of a task or an event is sent any more."""

    TASK_DELETED = "TASK_DELETED"
    TASK_COMPLETED = "TASK_COMPLETED"
    TASK_MOVED = "TASK_MOVED"
    EVENT_DELETED = "EVENT_DELETED"
    EVENT_CANCELLED = "EVENT_CANCELLED"
    EVENT_COMPLETED = "EVENT_COMPLETED"
    OCCURRENCE_CANCELLED = "OCCURRENCE_CANCELLED"
    OCCURRENCE_COMPLETED = "OCCURRENCE_COMPLETED"
    OCCURRENCE_MOVED = "OCCURRENCE_MOVED"


REVOCABLE = [each.value for each in Refusal if each not in (Refusal.TASK_DELETED, Refusal.TASK_COMPLETED)]
"""What a later state may take back: then what was withdrawn waits again."""


class Reminder(NamedTuple):
    """One reminder: a user's own, or one of a task or an event that is due."""

    id: str
    user_id: str
    event_id: str | None
    task_id: str | None
    type: str
    """The channel that it names; others come from the preferences."""
    scheduled_for: int
    payload: Mapping[str, Any]
    """`title`, and where there are: `note`, `due_date`, `reminder`; of an event also its `epoch` and `version` when
    the reminder fired, and of its occurrence `slot`, `start` and `time_zone`."""
    sent_at: int | None
    status: str
    error_message: str | None
    fire_at: int | None
    """When deliveries are made of it; None once they are."""
    expires_at: int | None
    """Until when it may be sent late; None: as long as the grace says."""
    snooze_count: int
    created_at: int
    updated_at: int
    version: int


class ReminderState(NamedTuple):
    """What became of a reminder, as far as its deliveries go."""

    status: str
    scheduled_for: int
    error_message: str | None


class Notification(NamedTuple):
    """One delivery: a reminder or an event, through one channel to one target."""

    id: str
    user_id: str
    task_id: str | None
    event_id: str | None
    """The calendar event."""
    reminder_id: str | None
    source_id: str
    """The reminder, or the event that caused it."""
    notification_type: str
    channel: str
    target_id: str | None
    """The webhook or the push subscription."""
    status: str
    outcome: str | None
    payload: Mapping[str, Any]
    cause: str | None
    """The causing CloudEvent for webhooks, hexadecimal."""
    scheduled_for: int
    deferred_until: int | None
    expires_at: int | None
    next_attempt_at: int | None
    """When it is sent, tried again, or taken from a process that has not reported back; None: it is over."""
    leased: bool
    """Whether a process is sending it."""
    message_id: str | None
    attempts: int
    created_at: int
    sent_at: int | None
    error_message: str | None
    read_at: int | None


class Cause(NamedTuple):
    """What a user is notified of."""

    source_id: str
    user_id: str
    kind: str
    scheduled_for: int
    payload: Mapping[str, Any]
    task_id: str | None = None
    event_id: str | None = None
    reminder_id: str | None = None
    expires_at: int | None = None
    event: str | None = None
    """The causing CloudEvent, hexadecimal."""
    named: str | None = None
    """The channel that its user named, which the preferences do not turn off; of an event their defaults do not."""


class Attempt(NamedTuple):
    """One attempt to deliver a notification."""

    notification_id: str
    number: int
    message_id: str
    begun_at: int
    ended_at: int | None
    is_sent: bool
    answer: str


class Recipient(NamedTuple):
    """Who is notified through what."""

    user_id: str
    time_zone: str | None
    """None: not known yet."""
    zone_at: int | None
    """When that was so."""
    channels: Mapping[str, Sequence[bool]]
    """What differs from the defaults: reminders and updates, by channel."""
    quiet_from: int | None
    """Minutes after local midnight."""
    quiet_to: int | None
    phone_number: str | None
    unread_count: int
    inbox_version: int
    is_deleted: bool
    updated_at: int
    version: int


class Targets(NamedTuple):
    """Where a user's messages can go."""

    subscriptions: Sequence[str] = ()
    webhooks: Sequence[str] = ()
    """Those that are enabled."""

    def of(self, channel: str) -> Sequence[str]:
        """The ids of a channel that may have several."""
        return self.subscriptions if channel == Channel.WEBPUSH else self.webhooks


class PushSubscription(NamedTuple):
    """A browser that receives push messages."""

    id: str
    user_id: str
    endpoint: str
    p256dh: str
    """Public key of the browser, base64url."""
    auth: str
    """Secret of the browser, base64url."""
    label: str | None
    created_at: int


class Webhook(NamedTuple):
    """An address that receives notifications."""

    id: str
    user_id: str
    url: str
    description: str | None
    is_enabled: bool
    disabled_reason: str | None
    failing_since: int | None
    last_failed_at: int | None
    secret: str
    """Encrypted, hexadecimal."""
    old_secret: str | None
    """Encrypted, hexadecimal; signs too until `old_secret_until`."""
    old_secret_until: int | None
    created_at: int
    updated_at: int
    version: int


class TaskState(NamedTuple):
    """What a task looks like now, as far as its reminders go."""

    id: str
    user_id: str
    is_open: bool
    is_deleted: bool
    due_date: int | None
    reminder_time: int | None
    updated_at: int


class EventState(NamedTuple):
    """What an event of the calendar looks like now, as far as its reminders go."""

    id: str
    user_id: str
    series_id: str
    """Its own id, or that of the event from which edits split it off."""
    epoch: int
    version: int
    is_deleted: bool
    status: str
    start: str
    """Its first slot; slots are texts of `mesh.recurrence.series.slot_text`."""
    time_zone: str | None
    """None: it floats."""
    rule: Mapping[str, Any] | None
    """As `mesh.recurrence.document` writes it; None: it does not recur."""
    added: Sequence[str]
    """Slots beside those of the rule."""
    updated_at: int


class OccurrenceState(NamedTuple):
    """The same of an occurrence that was changed by itself."""

    event_id: str
    slot: str
    user_id: str
    epoch: int
    version: int
    """Of the event, after the change."""
    status: str
    start: str
    """The local time, or date, at which it begins."""
    ends_at: int


class Planned(NamedTuple):
    """What is known of what a reminder of an event is of."""

    event: EventState
    occurrence: OccurrenceState | None
    """None: it was never changed by itself, or the reminder is of the whole event."""
    successor: "Planned | None" = None
    """The same of the event that was split off from it and has the slots of that time."""


class States(NamedTuple):
    """What is known of tasks, events and occurrences by now."""

    tasks: Mapping[str, TaskState]
    events: Mapping[str, EventState]
    occurrences: Mapping[tuple[str, str], OccurrenceState]
    """By event and slot."""
    successors: Mapping[tuple[str, str], str]
    """By event and slot, the other event of its series that may have that slot."""

    def of(self, row: Reminder | Notification) -> TaskState | Planned | None:
        """Of what a reminder or a delivery is of; None when nothing is known, or it is of nothing."""
        if row.event_id is None:
            return self.tasks.get(row.task_id or "")
        slot = row.payload.get("slot") or ""
        return self._planned(row.event_id, slot, self.successors.get((row.event_id, slot)))

    def _planned(self, event_id: str, slot: str, successor_id: str | None = None) -> Planned | None:
        event = self.events.get(event_id)
        successor = None if successor_id is None else self._planned(successor_id, slot)
        return None if event is None else Planned(event, self.occurrences.get((event_id, slot)), successor)


class PhoneCode(NamedTuple):
    """The code that was sent last to a user's number."""

    user_id: str
    phone_number: str
    code_hash: str | None
    """Keyed, hexadecimal; None until it is sent."""
    expires_at: int | None
    tries: int
    asked_on: str
    asked: int


class Item(NamedTuple):
    """What a message tells of: a message has one, or several that were combined."""

    title: str
    note: str | None
    scheduled_for: int
    """The instant that it is for."""
    due_date: int | None
    """When the task is due, or the event begins."""
    event_type: str | None
    """`task-completed` or `task-deleted` of the kind `update`; `verify_email`, `reset_password` or `verify_phone` of
    the kind `account`."""
    task_id: str | None
    event_id: str | None
    reminder_id: str | None
    is_late: bool


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One message for one target, as a sender gets it."""

    message_id: str
    """The same over all attempts: the provider's idempotency key, the Message-ID of a mail, the id of a webhook."""
    user_id: str
    channel: Channel
    kind: Kind
    items: Sequence[Item]
    """The first 50 of what it tells of, by time; of the kind `account` one, which says what for in `event_type`."""
    count: int
    """Of what it tells, all together."""
    time_zone: str
    """IANA zone of the user, for the times in texts."""
    begun_at: int
    """When the attempt began: the timestamp of a webhook."""
    address: str = ""
    """The mail address or the phone number."""
    name: str = ""
    """The user's name, for mails; may be empty."""
    subscription: PushSubscription | None = None
    """Of the channel `webpush`."""
    url: str = ""
    """Of a webhook."""
    secrets: Sequence[bytes] = field(default=(), repr=False)
    """Of a webhook: the current one first, and the one before it while both are valid."""
    cause: bytes = field(default=b"", repr=False)
    """Of a webhook: the causing CloudEvent, which is its body as it is."""
    token: str = field(default="", repr=False)
    """Of the kind `account`: the token of the mail, or the code of the SMS. Never stored, logged or traced."""
    expires_at: int | None = None
    """Of the kind `account`: until when `token` is valid."""
