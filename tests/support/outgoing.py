"""Messages as the delivery engine gives them to senders."""

from dataclasses import replace
from typing import Any

from services.notification.model import Channel, Item, Kind, Outgoing

AT = 1_770_640_200_000_000
"""9 February 2026, 12:30 UTC."""
ITEM = Item(
    title="Water the plants",
    note=None,
    scheduled_for=AT,
    due_date=None,
    event_type=None,
    task_id=None,
    event_id=None,
    reminder_id="019c4278-2f00-7aaa-8000-000000000001",
    is_late=False,
)
MESSAGE = Outgoing(
    message_id="019c4278-2f00-7bbb-8000-000000000002",
    user_id="019c4278-2f00-7ccc-8000-000000000003",
    channel=Channel.EMAIL,
    kind=Kind.REMINDER,
    items=(ITEM,),
    count=1,
    time_zone="Europe/Berlin",
    begun_at=AT,
    address="ada@example.org",
    name="Ada",
)


def item(**fields: Any) -> Item:
    """A reminder's line, with what a test says of it."""
    return ITEM._replace(**fields)


def message(*items: Item, **fields: Any) -> Outgoing:
    """A message of these items, or of one reminder."""
    told = items or (ITEM,)
    return replace(MESSAGE, **{"items": told, "count": len(told), **fields})


def account(event_type: str, **fields: Any) -> Outgoing:
    """A message for an account, with its token."""
    return message(item(event_type=event_type), kind=Kind.ACCOUNT, token="tok-123", expires_at=AT, **fields)
