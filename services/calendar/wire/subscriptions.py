"""Subscriptions to their messages."""

from focusmesh.calendar.v1 import calendar_subscription_service_pb2 as pb

from mesh.runtime.clock import set_timestamp
from services.calendar.model import CalendarSubscription


def subscription_to_pb(subscription: CalendarSubscription) -> pb.Subscription:
    """The message of a subscription."""
    message = pb.Subscription(
        id=subscription.id,
        name=subscription.name,
        url=subscription.url,
        event_count=subscription.event_count,
        issue_count=subscription.issue_count,
        error=subscription.error,
    )
    set_timestamp(message.read_time, subscription.read_at)
    set_timestamp(message.next_read_time, subscription.next_read_at)
    set_timestamp(message.create_time, subscription.created_at)
    return message
