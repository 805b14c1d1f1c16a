"""Envelopes: what the outbox writes is what a consumer reads, and what is not one is refused."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.database.migrate import messaging_tables
from mesh.events.envelope import LARGEST_ENVELOPE, MalformedEvent, Message, envelope, read, stamped
from mesh.events.outbox import SHARDS, Event
from mesh.runtime import clock

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
# The example of todo-data-model.md.
BUY_GROCERIES = {
    "title": "Buy groceries",
    "description": "Milk, bread, eggs",
    "status": "pending",
    "due_date": "2026-02-09T18:00:00Z",
    "reminder_time": "2026-02-09T12:00:00Z",
    "is_recurring": False,
    "recurrence_schedule": None,
}
EVENT = Event(
    id="550e8400-e29b-41d4-a716-446655440000",
    type="task-created",
    source="todo",
    topics=("task-events", "task-updates"),
    user_id=str(uuid.UUID(int=7)),
    subject="550e8400-e29b-41d4-a716-446655440001",
    subject_name="task_id",
    version=1,
    time=1_770_544_800 * clock.SECOND,
    payload=BUY_GROCERIES,
)


def message(value: bytes | None, **headers: str) -> Message:
    found = tuple((name, text.encode()) for name, text in headers.items())
    return Message("task-events", 0, 0, EVENT.user_id.encode(), value, found, 0)


def altered(**changes: Any) -> bytes:
    return json.dumps(json.loads(envelope(EVENT, TRACEPARENT)) | changes).encode()


def test_the_data_is_exactly_the_example_of_the_specification() -> None:
    assert json.loads(envelope(EVENT, TRACEPARENT))["data"] == {
        "event_id": "550e8400-e29b-41d4-a716-446655440000",
        "event_type": "task-created",
        "task_id": "550e8400-e29b-41d4-a716-446655440001",
        "timestamp": "2026-02-08T10:00:00Z",
        "schema_version": "1.0",
        "payload": BUY_GROCERIES,
    }


def test_the_data_may_have_more_keys_beside_those_of_every_event() -> None:
    """A reminder of a calendar event has `task_id`, which is null."""
    of_event = EVENT._replace(subject_name="calendar_event_id", beside={"task_id": None})
    data = json.loads(envelope(of_event, TRACEPARENT))["data"]
    assert (data["calendar_event_id"], data["task_id"]) == (EVENT.subject, None)


def test_a_consumer_reads_what_the_outbox_wrote() -> None:
    value = envelope(EVENT, TRACEPARENT)
    event = read(message(value))
    assert (event.id, event.type, event.source, event.subject) == (EVENT.id, EVENT.type, "todo", EVENT.subject)
    assert (event.user_id, event.version, event.time) == (EVENT.user_id, EVENT.version, EVENT.time)
    assert (event.traceparent, event.topic, event.value) == (TRACEPARENT, "task-events", value)
    assert event.data["payload"] == BUY_GROCERIES


def test_a_foreign_publisher_may_send_its_trace_as_a_header() -> None:
    written = json.loads(envelope(EVENT, ""))
    written.pop("traceparent", None)
    assert read(message(json.dumps(written).encode(), traceparent=TRACEPARENT)).traceparent == TRACEPARENT


@given(st.integers(1, 2**31 - 1))
def test_an_epoch_is_stamped_onto_the_envelope_and_changes_nothing_else(epoch: int) -> None:
    value = envelope(EVENT, TRACEPARENT)
    assert json.loads(stamped(value, epoch)) == json.loads(value) | {"epoch": epoch}
    assert read(message(stamped(value, epoch))) == read(message(value))._replace(
        epoch=epoch, value=stamped(value, epoch)
    )


def test_an_envelope_without_an_epoch_is_of_the_first() -> None:
    assert read(message(envelope(EVENT, TRACEPARENT))).epoch == 1


def test_the_limits_of_the_outbox_are_those_of_its_table() -> None:
    tables = messaging_tables()
    assert f"CHECK (shard BETWEEN 0 AND {SHARDS - 1})" in tables
    assert f"CHECK (octet_length(value) <= {LARGEST_ENVELOPE})" in tables


def test_a_newer_minor_version_of_the_schema_is_read() -> None:
    data = json.loads(envelope(EVENT, ""))["data"] | {"schema_version": "1.7", "more": True}
    assert read(message(altered(data=data))).data["more"] is True


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        altered(id="not-a-uuid"),
        altered(type=""),
        altered(type=7),
        altered(subject=None),
        altered(partitionkey=None),
        altered(sequence="first"),
        altered(time="yesterday"),
        altered(data=None),
        altered(data={}),
        altered(data={"schema_version": "2.0"}),
        altered(data={"schema_version": "11.0"}),
    ],
)
def test_what_is_not_an_envelope_is_malformed(value: bytes | None) -> None:
    with pytest.raises(MalformedEvent):
        read(message(value))


def test_a_key_that_is_not_text_can_still_be_shown() -> None:
    assert message(b"")._replace(key=b"\xff\0a").key_text == "\\xff\\x00a"
