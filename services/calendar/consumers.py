"""What the calendar service does with events of other services."""

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent
from mesh.events.inbox import TopicSubscription
from mesh.rpc import idempotency
from services.calendar.store import erasure, users

_BATCH = 2000
"""Rows of one statement: however many a user has, it ends long before the statement timeout."""


async def on_user_deleted(tx: Connection, event: ConsumedEvent) -> None:
    """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
    await users.mark_deleted(tx, event.user_id)
    for erase in (erasure.erase, idempotency.erase_responses):
        while await erase(tx, event.user_id, _BATCH):
            pass


SUBSCRIPTIONS = (TopicSubscription("user-events", {"user-deleted": on_user_deleted}, drop_stale=False),)
