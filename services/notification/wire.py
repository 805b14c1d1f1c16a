"""Rows to messages and back; nothing else converts."""

from focusmesh.notification.v1 import notification_preferences_pb2

from mesh.rpc.etag import etag
from services.notification.model import Recipient


def preferences_to_pb(recipient: Recipient) -> notification_preferences_pb2.NotificationPreferences:
    """The preferences of a user."""
    message = notification_preferences_pb2.NotificationPreferences(
        phone_number=recipient.phone_number or "",
        time_zone=recipient.time_zone or "",
        etag=etag(recipient.version),
    )
    if recipient.quiet_from is not None and recipient.quiet_to is not None:
        message.quiet_hours.from_minutes, message.quiet_hours.to_minutes = recipient.quiet_from, recipient.quiet_to
    return message
