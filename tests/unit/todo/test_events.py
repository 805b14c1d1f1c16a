"""What the todo service publishes, against the specification's own example."""

import json

from focusmesh.todo.events.v1.task_event_pb2 import TaskSnapshot

from mesh.events.outbox import envelope
from services.todo import events
from services.todo.model import State, Task

SPECIFICATION = json.loads("""
{
  "event_id": "550e8400-e29b-41d4-a716-446655440000",
  "event_type": "task-created",
  "task_id": "550e8400-e29b-41d4-a716-446655440001",
  "timestamp": "2026-02-08T10:00:00Z",
  "schema_version": "1.0",
  "payload": {
    "title": "Buy groceries",
    "description": "Milk, bread, eggs",
    "status": "pending",
    "due_date": "2026-02-09T18:00:00Z",
    "reminder_time": "2026-02-09T12:00:00Z",
    "is_recurring": false,
    "recurrence_schedule": null
  }
}
""")
CREATED = 1_770_544_800_000_000
TASK = Task(
    id="550e8400-e29b-41d4-a716-446655440001",
    user_id="550e8400-e29b-41d4-a716-446655440009",
    title="Buy groceries",
    description="Milk, bread, eggs",
    status=State.PENDING,
    due_date=1_770_660_000_000_000,
    reminder_time=1_770_638_400_000_000,
    is_recurring=False,
    recurrence_schedule=None,
    estimated_pomodoros=None,
    created_at=CREATED,
    updated_at=CREATED,
    completed_at=None,
    deleted_at=None,
    purge_at=None,
    version=1,
)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_data_is_exactly_the_specifications_example_and_what_was_added_to_it() -> None:
    event = events.task_created(TASK)._replace(id=SPECIFICATION["event_id"])
    data = json.loads(envelope(event, TRACE))["data"]
    added = {name: value for name, value in data["payload"].items() if name not in SPECIFICATION["payload"]}
    assert added.pop("reminder_offsets") == []
    assert set(added.values()) == {None}
    data["payload"] = {name: data["payload"][name] for name in SPECIFICATION["payload"]}
    assert data == SPECIFICATION


def test_what_was_worked_on_a_task_is_no_part_of_its_events() -> None:
    worked = TASK._replace(focus_seconds=1500, pomodoros=1)
    assert events.task_updated(worked).payload == events.task_updated(TASK).payload


def test_a_snapshot_has_every_field_of_the_contract_and_no_other() -> None:
    assert list(events.task_created(TASK).payload) == [field.name for field in TaskSnapshot.DESCRIPTOR.fields]


def test_the_envelope_is_structured_cloudevents_that_dapr_takes_as_it_is() -> None:
    event = events.task_created(TASK)
    attributes = json.loads(envelope(event, TRACE))
    del attributes["data"]
    assert attributes == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/focusmesh/todo",
        "type": "task-created",
        "subject": TASK.id,
        "time": "2026-02-08T10:00:00Z",
        "datacontenttype": "application/json",
        "partitionkey": TASK.user_id,
        "sequence": "00000000000000000001",
        "traceparent": TRACE,
    }


def test_every_kind_of_event_goes_to_both_topics_with_the_whole_task() -> None:
    kinds = [events.task_created, events.task_updated, events.task_completed, events.task_deleted]
    made = [kind(TASK) for kind in kinds]
    assert [event.type for event in made] == ["task-created", "task-updated", "task-completed", "task-deleted"]
    assert {event.topics for event in made} == {("task-events", "task-updates")}
    assert len({event.id for event in made}) == 4
    assert all(event.payload == made[0].payload for event in made)
