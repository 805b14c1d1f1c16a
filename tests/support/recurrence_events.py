"""Events of recurring tasks, as todo publishes them and as recurrence consumes them."""

from typing import Any
from uuid import UUID, uuid5

from mesh.database.pool import Database
from mesh.events import envelope
from mesh.events.envelope import ConsumedEvent, Message
from mesh.events.inbox import Inbox
from mesh.events.outbox import Event
from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Frequency, Rule
from mesh.runtime import clock
from mesh.runtime.clock import to_json
from services.recurrence.consumers import Follower
from tests.support.task_events import a_task_event

DAILY = to_document(Rule(Frequency.DAILY))


def a_series_event(
    user_id: str, task_id: str, *, version: int = 1, kind: str = "task-created", **payload: Any
) -> Event:
    """An event of a task with every key that todo gives it; without others, one that neither recurs nor reminds."""
    whole: dict[str, Any] = {
        "title": "Water the plants",
        "status": "complete" if kind == "task-completed" else "pending",
        "estimated_pomodoros": None,
        "recurrence": None,
        "time_zone": None,
        "repeat_from": None,
        "series_id": None,
        "slot": None,
        "reminder_offsets": [],
        "completed_at": None,
        "deleted_at": None,
    }
    return a_task_event(user_id, task_id=task_id, version=version, kind=kind, **whole | payload)


def recurring(series_id: str, slot: str, **payload: Any) -> dict[str, Any]:
    """The payload of an instance of a daily series in UTC; an instance is due at its slot."""
    return {
        "is_recurring": True,
        "recurrence_schedule": "daily",
        "recurrence": DAILY,
        "time_zone": "UTC",
        "repeat_from": "from_due_next_future",
        "series_id": series_id,
        "slot": slot,
        "due_date": f"{slot}Z" if "T" in slot else None,
        **payload,
    }


def instance_id(series_id: str, slot: str) -> str:
    """The id of the task that todo makes for a slot."""
    return str(uuid5(UUID(series_id), slot))


def consumed(event: Event, topic: str = "task-events") -> ConsumedEvent:
    """The event as its consumer reads it."""
    return envelope.read(Message(topic, 0, 0, b"", envelope.envelope(event, ""), (), 0))


def seconds_from_now(seconds: float) -> str:
    """An instant as events write it."""
    return to_json(clock.now() + round(seconds * 1_000_000))


async def in_utc(user_id: str) -> str | None:
    """Auth, where every user is in UTC."""
    return "UTC"


async def follow(db: Database, *events: Event, topic: str = "task-events") -> None:
    """Applies events as the service's consumer does."""
    inbox = Inbox(db, Follower(db, in_utc, lambda: None).subscriptions())
    await inbox.apply([consumed(event, topic) for event in events])
