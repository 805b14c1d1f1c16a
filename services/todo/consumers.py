"""What the todo service does with events of other services."""

from collections.abc import Sequence

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent, traced
from mesh.events.inbox import TopicSubscription
from mesh.rpc import idempotency
from services.todo import store, wire
from services.todo.rules import focus

_BATCH = 5000
"""Rows of one statement: however many a user has, it ends long before the statement timeout."""


async def on_user_deleted(tx: Connection, event: ConsumedEvent) -> None:
    """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
    for erase in (store.erase_tasks, store.erase_sessions, idempotency.erase_responses):
        while await erase(tx, event.user_id, _BATCH):
            pass


async def on_focus(tx: Connection, events: Sequence[ConsumedEvent]) -> None:
    """Counts what was worked on tasks in focus sessions; an event has all totals of its session."""
    with traced(events):
        reports = {report.session_id: report for report in map(wire.report_from_event, events)}
        known = await store.lock_sessions(tx, list(reports.values()))
        if known:
            reported = [focus.report(session, reports[session.id]) for session in known]
            await store.save_sessions(tx, reported, focus.moved(known, reported))


SUBSCRIPTIONS = (
    TopicSubscription("user-events", {"user-deleted": on_user_deleted}),
    TopicSubscription("session-events", batch=on_focus),
    TopicSubscription("history-events", batch=on_focus),
)
