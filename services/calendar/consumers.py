"""What the calendar service does with events of other services."""

from uuid import UUID

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent
from mesh.events.inbox import TopicSubscription
from mesh.events.outbox import SideEffects
from mesh.rpc import idempotency
from mesh.runtime.slices import in_slices
from services.calendar.rules import changes
from services.calendar.store import erasure, events, occurrences, users
from services.calendar.store.changes import save

_BATCH = 2000
"""Rows of one statement: however many a user has, it ends long before the statement timeout."""
_MOVED_AT_ONCE = 20
"""Events that a change of zone reads by one statement, each with as many rows as an event may have."""
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


async def on_user_changed(tx: Connection, event: ConsumedEvent) -> None:
    """Notes where a user is; only events without a zone of their own move, and no version of them is made."""
    zone, user_id = event.data["payload"]["time_zone"], str(UUID(event.user_id))
    if not await users.set_zone(tx, user_id, zone):
        return
    after = _FIRST_ID
    while floating := await events.lock_floating(tx, user_id, after, _MOVED_AT_ONCE):
        rows = await occurrences.all_rows_of(tx, [each.id for each in floating])
        moved = await in_slices(changes.relocated(each, rows.get(each.id, {}), zone, event.time) for each in floating)
        await save(tx, moved, SideEffects((), None, ""))
        after = floating[-1].id


async def on_user_deleted(tx: Connection, event: ConsumedEvent) -> None:
    """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
    await users.mark_deleted(tx, event.user_id)
    for erase in (erasure.erase, idempotency.erase_responses):
        while await erase(tx, event.user_id, _BATCH):
            pass


SUBSCRIPTIONS = (
    TopicSubscription(
        "user-events",
        {
            "user-registered": on_user_changed,
            "user-updated": on_user_changed,
            "user-deleted": on_user_deleted,
        },
    ),
)
