"""What a user of a running stack has in the notification service, made by its RPCs."""

import base64
import os
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from focusmesh.notification.v1 import (
    channel_pb2,
    delivery_pb2,
    notification_service_pb2,
    push_subscription_service_pb2,
    reminder_service_pb2,
    webhook_service_pb2,
)
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import wait_until

NOWHERE = "https://localhost:1/"
"""An address that may be given, and that is not called: it is not public."""
NUMBER = "+491701234567"


def browser(endpoint: str) -> dict[str, str]:
    """What the subscription of a new browser has."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    keys = {"p256dh": point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), "auth": os.urandom(16)}
    return {
        "endpoint": endpoint,
        **{name: base64.urlsafe_b64encode(value).decode().rstrip("=") for name, value in keys.items()},
    }


class Notified:
    """Makes what RPCs of the notification service are called about."""

    def __init__(self, call: Callable[[str, Message], Any]) -> None:
        """call: an RPC in the name of the user."""
        self._call = call

    def fields(self, method: str) -> dict[str, Any]:
        """What a valid request of an RPC has that its rules do not say."""
        if method == "CreateReminder":
            return {"remind_time": Timestamp(seconds=int(time.time()) + 30 * 86400)}
        if method == "SnoozeReminder":
            return {"minutes": 60}
        if method == "RegisterPushSubscription":
            return browser(f"https://push.example/{os.urandom(8).hex()}")
        if method == "VerifyPhone":
            return {"phone_number": NUMBER}
        if method in ("CreateWebhook", "UpdateWebhook"):
            self._make_room()
            return {"url": NOWHERE}
        return {}

    def makers(self) -> dict[str, Callable[[], Any]]:
        """Makers of resources, by the field that names them."""
        return {
            "reminder_id": lambda: self._reminder(30 * 86400),
            "webhook_id": self._webhook,
            "push_subscription_id": self._subscription,
            "notification_ids": lambda: [self.shown()],
            "delivery_id": self._delivery,
        }

    def shown(self) -> str:
        """Id of a new notification."""
        reminder_id = self._reminder(0)
        found: list[str] = []

        def is_there() -> bool:
            request = notification_service_pb2.ListNotificationsRequest(page_size=5)
            listed = self._call("ListNotifications", request).notifications
            found.extend(each.id for each in listed if each.reminder_id == reminder_id)
            return bool(found)

        wait_until(is_there, "the reminder is shown")
        return found[0]

    def _reminder(self, seconds: int) -> str:
        due = Timestamp(seconds=int(time.time()) + seconds)
        request = reminder_service_pb2.CreateReminderRequest(title="Call home", remind_time=due)
        made: str = self._call("CreateReminder", request).reminder.id
        return made

    def _webhook(self) -> str:
        self._make_room()
        request = webhook_service_pb2.CreateWebhookRequest(url=NOWHERE)
        made: str = self._call("CreateWebhook", request).webhook.id
        return made

    def _make_room(self) -> None:
        webhooks = self._call("ListWebhooks", webhook_service_pb2.ListWebhooksRequest()).webhooks
        for webhook in webhooks[:-5]:
            self._call("DeleteWebhook", webhook_service_pb2.DeleteWebhookRequest(webhook_id=webhook.id))

    def _subscription(self) -> str:
        keys = browser(f"https://push.example/{os.urandom(8).hex()}")
        request = push_subscription_service_pb2.RegisterPushSubscriptionRequest(**keys)
        made: str = self._call("RegisterPushSubscription", request).push_subscription.id
        return made

    def _delivery(self) -> str:
        """Id of a delivery to a webhook that has ended."""
        webhook_id = self._webhook()
        self._reminder(0)
        found: list[str] = []

        def has_ended() -> bool:
            request = notification_service_pb2.ListDeliveriesRequest(
                channel=channel_pb2.CHANNEL_WEBHOOK, target_id=webhook_id
            )
            listed = self._call("ListDeliveries", request).deliveries
            pending = delivery_pb2.DELIVERY_STATE_PENDING
            found.extend(each.id for each in listed if each.state != pending and not each.HasField("next_attempt_time"))
            return bool(found)

        wait_until(has_ended, "the delivery has ended")
        return found[0]
