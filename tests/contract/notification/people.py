"""Users of the notification service, as they call it, and events of other services, as its consumer takes them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import grpc
from focusmesh.notification.v1 import (
    channel_pb2,
    delivery_pb2,
    notification_preference_service_pb2,
    notification_preference_service_pb2_grpc,
    notification_service_pb2,
    notification_service_pb2_grpc,
    push_subscription_service_pb2,
    push_subscription_service_pb2_grpc,
    reminder_service_pb2,
    reminder_service_pb2_grpc,
    webhook_service_pb2,
    webhook_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import until
from mesh.database.pool import Database
from mesh.events.envelope import Message, envelope, read
from mesh.events.inbox import Inbox
from mesh.events.outbox import Event
from mesh.runtime import clock
from mesh.runtime.ids import new_id
from services.auth.jobs import MailRequester
from services.notification.consumers import Notifier
from tests.support.databases import opened
from tests.support.task_events import a_task_event
from tests.support.tokens import Signer
from tests.support.user_events import a_user_event
from tests.support.user_stub import UserStub

SERVICES = (
    (reminder_service_pb2_grpc.ReminderServiceStub, reminder_service_pb2),
    (notification_service_pb2_grpc.NotificationServiceStub, notification_service_pb2),
    (notification_preference_service_pb2_grpc.NotificationPreferenceServiceStub, notification_preference_service_pb2),
    (push_subscription_service_pb2_grpc.PushSubscriptionServiceStub, push_subscription_service_pb2),
    (webhook_service_pb2_grpc.WebhookServiceStub, webhook_service_pb2),
)
IN_APP, EMAIL, WEBPUSH, SMS, WEBHOOK = (
    channel_pb2.CHANNEL_IN_APP,
    channel_pb2.CHANNEL_EMAIL,
    channel_pb2.CHANNEL_WEBPUSH,
    channel_pb2.CHANNEL_SMS,
    channel_pb2.CHANNEL_WEBHOOK,
)
PENDING, SENT, FAILED, SUPPRESSED, MISSED = (
    delivery_pb2.DELIVERY_STATE_PENDING,
    delivery_pb2.DELIVERY_STATE_SENT,
    delivery_pb2.DELIVERY_STATE_FAILED,
    delivery_pb2.DELIVERY_STATE_SUPPRESSED,
    delivery_pb2.DELIVERY_STATE_MISSED,
)


class Person:
    """A user; every RPC of the service is a method: `await person.CreateReminder(title="x", …)`."""

    def __init__(self, channel: grpc.aio.Channel, signer: Signer, user_id: str = "") -> None:
        self.user_id = user_id or new_id()
        self._channel, self._signer = channel, signer
        self._stubs = [UserStub(stub(channel), messages, signer, self.user_id) for stub, messages in SERVICES]

    def __getattr__(self, method: str) -> Callable[..., Any]:
        for stub, (_, messages) in zip(self._stubs, SERVICES, strict=True):
            if hasattr(messages, f"{method}Request"):
                found: Callable[..., Any] = getattr(stub, method)
                return found
        raise AttributeError(method)

    def another(self) -> "Person":
        """Another user."""
        return Person(self._channel, self._signer)

    async def deliveries(self, channel: int = 0, **fields: Any) -> list[Any]:
        """The deliveries of a channel, the earliest instant first."""
        listed = await self.ListDeliveries(channel=channel, page_size=200, **fields)
        return sorted(listed.deliveries, key=lambda each: each.scheduled_time.ToNanoseconds())

    async def ended(self, channel: int, count: int = 1) -> list[Any]:
        """The same, once so many have ended."""

        async def over() -> bool:
            there = await self.deliveries(channel)
            return len(there) >= count and all(each.state != PENDING for each in there)

        await until(over, f"{count} deliveries have ended")
        return await self.deliveries(channel)

    async def shown(self, count: int = 1) -> list[Any]:
        """The notifications of the app, the newest first, once there are so many."""

        async def there() -> bool:
            return len((await self.ListNotifications(page_size=200)).notifications) >= count

        await until(there, f"the app shows {count} notifications")
        return list((await self.ListNotifications(page_size=200)).notifications)


def after(seconds: float) -> Timestamp:
    """The instant so many seconds from now."""
    message = Timestamp()
    clock.set_timestamp(message, clock.now() + round(seconds * clock.SECOND))
    return message


def at(seconds: float) -> datetime:
    """The same as an event has it."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Others:
    """The other services, whose events arrive in this order."""

    def __init__(self, db: Database, settle_seconds: float) -> None:
        subscriptions = Notifier(clock.now, lambda: None, settle_seconds=settle_seconds).subscriptions()
        self._inbox = Inbox(db, subscriptions)

    async def publish(self, topic: str, *events: Event) -> None:
        """Has the service consume events of a topic, as one batch."""
        messages = [Message(topic, 0, 0, each.user_id.encode(), envelope(each, ""), (), 0) for each in events]
        await self._inbox.apply([read(message) for message in messages])

    async def locate(self, user_id: str, time_zone: str = "UTC") -> None:
        """Has auth say where a user is."""
        event = a_user_event(user_id, "user-updated")
        await self.publish("user-events", event._replace(payload={**event.payload, "time_zone": time_zone}))

    async def relay_mails(self, auth_url: str) -> None:
        """Has the mails arrive that auth has announced."""
        async with opened(auth_url, "auth", connections=2) as db:
            requester = MailRequester(db, clock.now)
            while await requester.run_once():
                pass

            async def announced() -> list[bytes]:
                async with db.connection() as connection:
                    cursor = await connection.execute("SELECT value FROM outbox ORDER BY seq")
                    return [value for (value,) in await cursor.fetchall() if b"mail-requested" in value]

            await until(announced, "auth announces a mail")
            messages = [Message("user-events", 0, 0, b"", value, (), 0) for value in await announced()]
        await self._inbox.apply([read(message) for message in messages])

    async def remind(self, *events: Event) -> None:
        """Has reminders of tasks arrive."""
        await self.publish("reminders", *events)


def a_reminder(
    user_id: str, task_id: str = "", *, at: datetime, title: str = "Water the plants", **payload: Any
) -> Event:
    """A reminder of a task that is due, as recurrence publishes it."""
    task_id = task_id or new_id()
    return Event(
        id=str(uuid5(UUID(task_id), at.isoformat())),
        type="reminder-fired",
        source="recurrence",
        topics=("reminders",),
        user_id=user_id,
        subject=task_id,
        subject_name="task_id",
        version=1,
        time=clock.now(),
        payload={"title": title, "reminder_time": at, "channel": "in_app", **payload},
    )


def messages_of(deliveries: Sequence[Any]) -> set[str]:
    """The messages that deliveries went out with."""
    return {each.message_id for each in deliveries}


def a_task(user_id: str, task_id: str, kind: str = "task-updated", *, version: int = 2, **changes: Any) -> Event:
    """An event of a pending task, with these changes."""
    payload = {"title": "Water the plants", "status": "pending", "due_date": None, "reminder_time": None, **changes}
    return a_task_event(user_id, task_id=task_id, version=version, kind=kind, **payload)
