"""Events of tasks, put onto the broker as todo's relay puts them."""

from collections.abc import Sequence
from typing import Any

from mesh.events.envelope import envelope
from mesh.events.outbox import Event
from mesh.events.producer import Producer, ProducerRecord
from mesh.runtime import clock
from mesh.runtime.ids import new_id

TOPICS = ("task-events", "task-updates")
_SNAPSHOT: dict[str, Any] = {
    "title": "Buy groceries",
    "description": None,
    "status": "pending",
    "due_date": None,
    "reminder_time": None,
    "is_recurring": False,
    "recurrence_schedule": None,
}
"""The specification's payload: every service on the broker reads what the tests of another one publish."""


def a_task_event(
    user_id: str, *, task_id: str = "", version: int = 1, kind: str = "task-created", **payload: Any
) -> Event:
    """An event as todo publishes it of a task. payload: what differs from a plain task."""
    return Event(
        id=new_id(),
        type=kind,
        source="todo",
        topics=TOPICS,
        user_id=user_id,
        subject=task_id or new_id(),
        subject_name="task_id",
        version=version,
        time=clock.now(),
        payload=_SNAPSHOT | payload,
    )


async def publish(producer: Producer, topic: str, events: Sequence[Event]) -> None:
    """Puts events onto a topic, in order, as often as they are given."""
    headers: list[tuple[str, str | bytes]] = [("content-type", "application/cloudevents+json")]
    messages = [ProducerRecord(topic, event.user_id.encode(), envelope(event, ""), headers) for event in events]
    assert not any(await producer.publish(messages))
