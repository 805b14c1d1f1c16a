"""The notification service: `python -m services.notification.main`."""

from pathlib import Path

from focusmesh.notification.v1.notification_preference_service_pb2_grpc import (
    add_NotificationPreferenceServiceServicer_to_server,
)
from focusmesh.notification.v1.notification_service_pb2_grpc import add_NotificationServiceServicer_to_server
from focusmesh.notification.v1.push_subscription_service_pb2_grpc import add_PushSubscriptionServiceServicer_to_server
from focusmesh.notification.v1.reminder_service_pb2_grpc import add_ReminderServiceServicer_to_server
from focusmesh.notification.v1.unsubscribe_service_pb2_grpc import add_UnsubscribeServiceServicer_to_server
from focusmesh.notification.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server

from mesh.app import App, Registration, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from mesh.runtime.clock import Clock
from services.notification import clients
from services.notification.clients.auth import Contacts
from services.notification.consumers import Notifier
from services.notification.handlers.notifications import NotificationHandlers
from services.notification.handlers.preferences import NotificationPreferenceHandlers
from services.notification.handlers.reminders import ReminderHandlers
from services.notification.handlers.subscriptions import PushSubscriptionHandlers
from services.notification.handlers.unsubscribe import UnsubscribeHandlers
from services.notification.handlers.webhooks import WebhookHandlers
from services.notification.jobs.claims import ChannelTask
from services.notification.jobs.in_app import InAppTask
from services.notification.jobs.messages import Messages
from services.notification.jobs.sending import CAPACITY, SendingTask
from services.notification.jobs.turns import Turns
from services.notification.jobs.upkeep import Purger, ReminderFirer
from services.notification.model import Channel
from services.notification.rules.secrets import Sealer, application_server_key
from services.notification.settings import Settings

_GATHER_MS = 100
"""How long events wait for others: most tasks neither recur nor remind, and are passed over together."""


def build(settings: Settings, keys: KeySource | None = None, now: Clock = clock.now) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes. now: replaces the clock of its RPCs."""
    platform = Platform("notification", settings, keys)
    db, sealer, guard = platform.database(), Sealer(settings.secrets_key), clients.outgoing_guard(settings)
    contacts, senders = Contacts(platform), clients.senders(settings)
    messages, turns = Messages(db, contacts, sealer, now), Turns()
    grace, lease, settle = settings.grace_seconds, settings.lease_seconds, settings.settle_seconds
    channels: list[ChannelTask] = [InAppTask(db, grace_seconds=grace)]
    for channel in CAPACITY:
        sender = senders.get(channel)
        channels.append(
            SendingTask(db, channel, sender, messages, contacts, now, turns, grace_seconds=grace, lease_seconds=lease)
        )

    def wake_senders() -> None:
        for each in channels:
            each.wake()

    firer = ReminderFirer(db, wake_senders, settle_seconds=settle)
    push_key = application_server_key(Path(settings.vapid_key_file)) if settings.vapid_key_file else ""
    has_sms = Channel.SMS in senders
    servicers: list[Registration] = [
        (add_ReminderServiceServicer_to_server, ReminderHandlers(db, platform.pages, now, firer.wake)),
        (add_NotificationServiceServicer_to_server, NotificationHandlers(db, platform.pages, now)),
        (
            add_NotificationPreferenceServiceServicer_to_server,
            NotificationPreferenceHandlers(db, sealer, now, wake_senders, has_sms=has_sms),
        ),
        (add_PushSubscriptionServiceServicer_to_server, PushSubscriptionHandlers(db, guard, now, push_key)),
        (
            add_UnsubscribeServiceServicer_to_server,
            UnsubscribeHandlers(db, clients.unsubscribe_links(settings), now),
        ),
        (add_WebhookServiceServicer_to_server, WebhookHandlers(db, guard, sealer, now, wake_senders)),
    ]
    notifier = Notifier(now, wake_senders, settle_seconds=settle)
    consumer = platform.consumer(db, notifier.subscriptions(), gather_ms=_GATHER_MS)
    purger = Purger(db, retention_days=settings.retention_days)
    return platform.app(servicers, database=db, components=[*channels, firer, purger, consumer])


if __name__ == "__main__":
    main("notification", Settings, build)
