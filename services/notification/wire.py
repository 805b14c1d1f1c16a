"""Rows to messages and back, and events of other services; nothing else converts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from focusmesh.notification.v1 import (
    channel_pb2,
    delivery_pb2,
    notification_pb2,
    notification_preference_service_pb2,
    notification_preferences_pb2,
    push_subscription_pb2,
    push_subscription_service_pb2,
    reminder_pb2,
    reminder_service_pb2,
    webhook_pb2,
    webhook_service_pb2,
)
from google.protobuf.message import Message

from mesh.events.envelope import ConsumedEvent
from mesh.rpc.etag import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from services.notification.model import (
    Attempt,
    Channel,
    EventState,
    Kind,
    Notification,
    OccurrenceState,
    Outcome,
    PushSubscription,
    Recipient,
    Reminder,
    ReminderStatus,
    Status,
    TaskState,
    Webhook,
)

_CHANNEL_TO_PB = {
    Channel.IN_APP.value: channel_pb2.CHANNEL_IN_APP,
    Channel.EMAIL.value: channel_pb2.CHANNEL_EMAIL,
    Channel.WEBPUSH.value: channel_pb2.CHANNEL_WEBPUSH,
    Channel.SMS.value: channel_pb2.CHANNEL_SMS,
    Channel.WEBHOOK.value: channel_pb2.CHANNEL_WEBHOOK,
}
CHANNEL_FROM_PB = {number: channel for channel, number in _CHANNEL_TO_PB.items()}
_KIND_TO_PB = {
    Kind.REMINDER.value: channel_pb2.NOTIFICATION_KIND_REMINDER,
    Kind.UPDATE.value: channel_pb2.NOTIFICATION_KIND_UPDATE,
    Kind.ACCOUNT.value: channel_pb2.NOTIFICATION_KIND_ACCOUNT,
}
_REMINDER_STATE_TO_PB = {
    ReminderStatus.PENDING.value: reminder_pb2.REMINDER_STATE_PENDING,
    ReminderStatus.SENT.value: reminder_pb2.REMINDER_STATE_SENT,
    ReminderStatus.FAILED.value: reminder_pb2.REMINDER_STATE_FAILED,
    ReminderStatus.CANCELLED.value: reminder_pb2.REMINDER_STATE_CANCELLED,
}
REMINDER_STATE_FROM_PB = {number: state for state, number in _REMINDER_STATE_TO_PB.items()}
_OUTCOME_TO_PB = {
    Outcome.MISSED.value: delivery_pb2.DELIVERY_STATE_MISSED,
    Outcome.SUPPRESSED.value: delivery_pb2.DELIVERY_STATE_SUPPRESSED,
}
_STATUS_TO_PB = {
    Status.PENDING.value: delivery_pb2.DELIVERY_STATE_PENDING,
    Status.SENT.value: delivery_pb2.DELIVERY_STATE_SENT,
    Status.FAILED.value: delivery_pb2.DELIVERY_STATE_FAILED,
}
_MAIL_SECONDS = {"reset_password": 30 * 60, "verify_email": 24 * 3600}
"""After so long a mail is of no use: its token would be, by auth's own rule."""


def reminder_from_pb(
    request: reminder_service_pb2.CreateReminderRequest, *, reminder_id: str, user_id: str, now: int
) -> Reminder:
    """The reminder that a request asks for."""
    at = clock.from_timestamp(request.remind_time)
    payload = {"title": request.title} | ({"note": request.note} if request.HasField("note") else {})
    return Reminder(
        id=reminder_id,
        user_id=user_id,
        event_id=None,
        task_id=None,
        type=CHANNEL_FROM_PB.get(request.channel, Channel.IN_APP),
        scheduled_for=at,
        payload=payload,
        sent_at=None,
        status=ReminderStatus.PENDING,
        error_message=None,
        fire_at=at,
        expires_at=None,
        snooze_count=0,
        created_at=now,
        updated_at=now,
        version=1,
    )


def snoozed_until(request: reminder_service_pb2.SnoozeReminderRequest, now: int) -> int:
    """The instant that a snooze asks for."""
    if request.HasField("minutes"):
        return now + request.minutes * 60 * SECOND
    return clock.from_timestamp(request.remind_time)


def reminder_to_pb(reminder: Reminder) -> reminder_pb2.Reminder:
    """The message of a reminder."""
    message = reminder_pb2.Reminder(
        id=reminder.id,
        title=reminder.payload.get("title", ""),
        note=reminder.payload.get("note"),
        channel=_CHANNEL_TO_PB[reminder.type],
        state=_REMINDER_STATE_TO_PB[reminder.status],
        task_id=reminder.task_id,
        event_id=reminder.event_id,
        error=reminder.error_message or "",
        snooze_count=reminder.snooze_count,
        etag=etag(reminder.version),
    )
    clock.set_timestamp(message.remind_time, reminder.scheduled_for)
    clock.set_timestamp(message.send_time, reminder.sent_at)
    clock.set_timestamp(message.create_time, reminder.created_at)
    clock.set_timestamp(message.update_time, reminder.updated_at)
    return message


def notification_to_pb(row: Notification) -> notification_pb2.Notification:
    """A notification as the app shows it."""
    message = notification_pb2.Notification(
        id=row.id,
        kind=_KIND_TO_PB[row.notification_type],
        title=row.payload.get("title", ""),
        note=row.payload.get("note"),
        event_type=row.payload.get("event_type") or "",
        task_id=row.task_id,
        event_id=row.event_id,
        reminder_id=row.reminder_id,
        is_late=row.outcome == Outcome.LATE,
        is_missed=row.outcome == Outcome.MISSED,
    )
    clock.set_timestamp(message.scheduled_time, row.scheduled_for)
    clock.set_timestamp(message.due_time, row.payload.get("due_date"))
    clock.set_timestamp(message.create_time, row.sent_at)
    clock.set_timestamp(message.read_time, row.read_at)
    return message


def delivery_to_pb(row: Notification, attempts: Sequence[Attempt]) -> delivery_pb2.Delivery:
    """A notification as its ledger shows it."""
    message = delivery_pb2.Delivery(
        id=row.id,
        kind=_KIND_TO_PB[row.notification_type],
        title=row.payload.get("title", ""),
        channel=_CHANNEL_TO_PB[row.channel],
        target_id=row.target_id,
        reminder_id=row.reminder_id,
        task_id=row.task_id,
        event_id=row.event_id,
        state=_OUTCOME_TO_PB.get(row.outcome or "", _STATUS_TO_PB[row.status]),
        is_late=row.outcome == Outcome.LATE,
        reason=row.error_message or "",
        message_id=row.message_id,
        attempt_count=row.attempts,
        attempts=[_attempt_to_pb(attempt) for attempt in attempts],
    )
    clock.set_timestamp(message.scheduled_time, row.scheduled_for)
    clock.set_timestamp(message.deferred_time, row.deferred_until)
    clock.set_timestamp(message.next_attempt_time, row.next_attempt_at)
    if row.status == Status.SENT and row.sent_at is not None:
        clock.set_timestamp(message.send_time, row.sent_at)
        message.late_by_seconds = max(0, row.sent_at - (row.deferred_until or row.scheduled_for)) // SECOND
    return message


def _attempt_to_pb(attempt: Attempt) -> delivery_pb2.DeliveryAttempt:
    message = delivery_pb2.DeliveryAttempt(number=attempt.number, is_sent=attempt.is_sent, answer=attempt.answer)
    clock.set_timestamp(message.begin_time, attempt.begun_at)
    clock.set_timestamp(message.end_time, attempt.ended_at)
    return message


def preferences_to_pb(
    recipient: Recipient, channels: Mapping[str, Sequence[bool]]
) -> notification_preferences_pb2.NotificationPreferences:
    """The preferences of a user. channels: reminders and updates of each, defaults included."""
    message = notification_preferences_pb2.NotificationPreferences(
        phone_number=recipient.phone_number or "",
        time_zone=recipient.time_zone or "",
        etag=etag(recipient.version),
    )
    for channel, (reminders, updates) in channels.items():
        shown = getattr(message, channel)
        shown.SetInParent()
        shown.reminders, shown.updates = reminders, updates
    if recipient.quiet_from is not None and recipient.quiet_to is not None:
        message.quiet_hours.SetInParent()
        message.quiet_hours.from_minutes, message.quiet_hours.to_minutes = recipient.quiet_from, recipient.quiet_to
    return message


def preferences_from_pb(
    request: notification_preference_service_pb2.UpdateNotificationPreferencesRequest, recipient: Recipient
) -> dict[str, Any]:
    """What a request changes of the preferences, by the names of the model."""
    changes: dict[str, Any] = {}
    channels = {channel: list(wanted) for channel, wanted in recipient.channels.items()}
    for path in update_paths(request):
        if path == "quiet_hours":
            given = request.quiet_hours if request.HasField("quiet_hours") else None
            changes["quiet_from"] = None if given is None else given.from_minutes
            changes["quiet_to"] = None if given is None else given.to_minutes
        elif request.HasField(path):  # type: ignore[arg-type]  # of the fields that the mask may name
            wanted = getattr(request, path)
            channels[path] = [wanted.reminders, wanted.updates]
        else:
            channels.pop(path, None)
    return changes | {"channels": channels}


def subscription_from_pb(
    request: push_subscription_service_pb2.RegisterPushSubscriptionRequest,
    *,
    subscription_id: str,
    user_id: str,
    now: int,
) -> PushSubscription:
    """The subscription that a request registers."""
    label = request.label if request.HasField("label") else None
    return PushSubscription(subscription_id, user_id, request.endpoint, request.p256dh, request.auth, label, now)


def subscription_to_pb(subscription: PushSubscription) -> push_subscription_pb2.PushSubscription:
    """The message of a subscription, without endpoint and keys."""
    message = push_subscription_pb2.PushSubscription(
        id=subscription.id, label=subscription.label, push_service=urlsplit(subscription.endpoint).hostname or ""
    )
    clock.set_timestamp(message.create_time, subscription.created_at)
    return message


def webhook_from_pb(
    request: webhook_service_pb2.CreateWebhookRequest, *, webhook_id: str, user_id: str, sealed: str, now: int
) -> Webhook:
    """The webhook that a request asks for. sealed: its secret, encrypted."""
    description = request.description if request.HasField("description") else None
    return Webhook(
        id=webhook_id,
        user_id=user_id,
        url=request.url,
        description=description,
        is_enabled=True,
        disabled_reason=None,
        failing_since=None,
        last_failed_at=None,
        secret=sealed,
        old_secret=None,
        old_secret_until=None,
        created_at=now,
        updated_at=now,
        version=1,
    )


def webhook_changes_from_pb(request: webhook_service_pb2.UpdateWebhookRequest) -> dict[str, Any]:
    """The new values of the fields that the mask names; unset means cleared."""
    values = {
        "url": request.url,
        "description": request.description if request.HasField("description") else None,
        "is_enabled": request.is_enabled,
    }
    return {path: values[path] for path in update_paths(request)}


def webhook_to_pb(webhook: Webhook) -> webhook_pb2.Webhook:
    """The message of a webhook, without its secrets."""
    message = webhook_pb2.Webhook(
        id=webhook.id,
        url=webhook.url,
        description=webhook.description,
        is_enabled=webhook.is_enabled,
        disabled_reason=webhook.disabled_reason or "",
        etag=etag(webhook.version),
    )
    clock.set_timestamp(message.failing_since_time, webhook.failing_since)
    clock.set_timestamp(message.old_secret_until_time, webhook.old_secret_until)
    clock.set_timestamp(message.create_time, webhook.created_at)
    clock.set_timestamp(message.update_time, webhook.updated_at)
    return message


def instant_from_pb(request: Message, field: str) -> int | None:
    """An optional instant of a request."""
    return clock.from_timestamp(getattr(request, field)) if request.HasField(field) else None


def reminder_from_event(event: ConsumedEvent, now: int) -> Reminder:
    """A reminder of a task or an event that is due; its id is the event's, one for each instant that it is for."""
    payload = event.data["payload"]
    is_task = event.source == "recurrence"
    kept = {
        "title": str(payload["title"])[:255],
        "reminder_time": _instant(payload["reminder_time"]),
        "due_date": _instant(payload.get("due_date")),
        "reminder": payload.get("reminder"),
    }
    if not is_task:
        kept |= {name: payload.get(name) for name in ("slot", "start", "time_zone")}
        kept |= {"due_date": _instant(payload.get("start_time")), "epoch": event.epoch, "version": event.version}
    return Reminder(
        id=event.id,
        user_id=event.user_id,
        event_id=None if is_task else str(UUID(event.subject)),
        task_id=str(UUID(event.subject)) if is_task else None,
        type=Channel(payload.get("channel") or Channel.IN_APP),
        scheduled_for=kept["reminder_time"],
        payload={name: value for name, value in kept.items() if value is not None},
        sent_at=None,
        status=ReminderStatus.PENDING,
        error_message=None,
        fire_at=None,
        expires_at=_instant(payload.get("end_time")),
        snooze_count=0,
        created_at=now,
        updated_at=now,
        version=1,
    )


def task_from_event(event: ConsumedEvent) -> TaskState:
    """The state of a task that an event leaves."""
    payload = event.data["payload"]
    return TaskState(
        id=str(UUID(event.subject)),
        user_id=event.user_id,
        is_open=payload["status"] != "complete",
        is_deleted=event.type == "task-deleted",
        due_date=_instant(payload.get("due_date")),
        reminder_time=_instant(payload.get("reminder_time")),
        updated_at=event.time,
    )


def event_from_event(event: ConsumedEvent) -> tuple[EventState, OccurrenceState | None]:
    """The state of an event of the calendar that an event leaves, and that of the occurrence that it is about."""
    payload, event_id = event.data["payload"], str(UUID(event.subject))
    after = EventState(
        id=event_id,
        user_id=event.user_id,
        series_id=str(UUID(payload["series_id"])),
        epoch=event.epoch,
        version=event.version,
        # Not by the type: the session of an occurrence may end after its event was deleted.
        is_deleted=event.type == "event-deleted" or payload["delete_time"] is not None,
        status=str(payload["status"]),
        start=str(payload["start"]),
        time_zone=payload["time_zone"],
        rule=payload["recurrence"],
        added=payload["added"],
        updated_at=event.time,
    )
    about = payload["occurrence"]
    if about is None:
        return after, None
    slot, status, start = (str(about[name]) for name in ("slot", "status", "start"))
    ends_at = _instant(about["end_time"]) or 0
    changed = OccurrenceState(event_id, slot, event.user_id, event.epoch, event.version, status, start, ends_at)
    return after, changed


def mail_from_event(event: ConsumedEvent) -> tuple[str, str, int]:
    """A mail that a user asked for: its id, what it is for, and until when it is of use."""
    payload = event.data["payload"]
    kind = str(payload["kind"])
    return str(UUID(payload["mail_id"])), kind, event.time + _MAIL_SECONDS[kind] * SECOND


def _instant(text: str | None) -> int | None:
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * SECOND)
