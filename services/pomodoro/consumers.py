"""What the pomodoro service does with events of other services."""

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent
from mesh.events.inbox import TopicSubscription
from mesh.rpc import idempotency
from services.pomodoro.store import claims as claim_store
from services.pomodoro.store import sessions as session_store

_SESSIONS, _RESPONSES = 200, 5000
"""Rows of one statement; a session has up to 50 tasks and 300 transitions."""


async def on_user_deleted(tx: Connection, event: ConsumedEvent) -> None:
    """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
    for erase, limit in (
        (session_store.erase_sessions, _SESSIONS),
        (claim_store.erase_claims, _SESSIONS),
        (idempotency.erase_responses, _RESPONSES),
    ):
        while await erase(tx, event.user_id, limit):
            pass


SUBSCRIPTIONS = (TopicSubscription("user-events", {"user-deleted": on_user_deleted}),)
