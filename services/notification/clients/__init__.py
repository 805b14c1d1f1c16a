"""Everything that leaves the service: the senders of all channels but in_app, and the guard of where they may call."""

from mesh.outgoing.guard import Guard
from services.notification.clients.channels import Sender, outgoing_guard, senders, unsubscribe_links
from services.notification.clients.unsubscribe import Subscription, UnsubscribeLinks
from services.notification.clients.webpush import check_keys

__all__ = [
    "Guard",
    "Sender",
    "Subscription",
    "UnsubscribeLinks",
    "check_keys",
    "outgoing_guard",
    "senders",
    "unsubscribe_links",
]
