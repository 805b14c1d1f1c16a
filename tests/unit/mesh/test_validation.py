"""Rules of the contract, named by field."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import product

import pytest
from buf.validate import validate_pb2
from focusmesh.calendar.v1 import occurrence_service_pb2
from focusmesh.notification.v1 import notification_service_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from harness.rpcs import METHODS, request_class
from mesh.rpc import validation
from mesh.rpc.patterns import MEANINGS
from mesh.runtime.errors import FieldViolation, InvalidRequest

TASK_ID = "0190a000-0000-7000-8000-000000000001"


def a_batch(*requests: pb.CreateTaskRequest) -> pb.BatchCreateTasksRequest:
    return pb.BatchCreateTasksRequest(requests=requests)


@pytest.mark.parametrize(
    ("request_message", "fields"),
    [
        (pb.CreateTaskRequest(title=""), {"title"}),
        (pb.CreateTaskRequest(title="x" * 256), {"title"}),
        (pb.CreateTaskRequest(title="x", request_id="no uuid"), {"request_id"}),
        (pb.CreateTaskRequest(title="x", is_recurring=True), {"recurrence_schedule"}),
        (
            pb.BatchCreateTasksRequest(requests=[pb.CreateTaskRequest(title="x"), pb.CreateTaskRequest(title=" ")]),
            {"requests[1].title"},
        ),
        (a_batch(pb.CreateTaskRequest(title="x", is_recurring=True)), {"requests[0].recurrence_schedule"}),
        (a_batch(pb.CreateTaskRequest(title="x", request_id=TASK_ID)), {"requests[0]"}),
        (pb.CreateTaskRequest(title="a\0b", description="\0"), {"title", "description"}),
        (
            pb.BatchCreateTasksRequest(requests=[pb.CreateTaskRequest(title="x"), pb.CreateTaskRequest(title="\0")]),
            {"requests[1].title"},
        ),
        (pb.ListTasksRequest(due_from={"seconds": 2}, due_before={"seconds": 1}), {"due_before"}),
    ],
)
def test_a_broken_rule_names_its_field(request_message: Message, fields: set[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validation.check(request_message)
    assert {violation.field for violation in refused.value.fields} == fields
    assert all(field in str(refused.value) for field in fields)


def patterns(kind: Descriptor, seen: set[str]) -> Iterator[str]:
    """The patterns of a request type and of all messages in it. seen: names of types."""
    seen.add(kind.full_name)
    for field in kind.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        yield from filter(None, (rules.string.pattern, rules.repeated.items.string.pattern))
        if field.message_type is not None and field.message_type.full_name not in seen:
            yield from patterns(field.message_type, seen)


def test_every_pattern_of_the_contract_is_told_in_words() -> None:
    used = {pattern for method in METHODS for pattern in patterns(request_class(method).DESCRIPTOR, set())}
    assert used == MEANINGS.keys()
    with pytest.raises(InvalidRequest, match="title: must show something"):
        validation.check(pb.CreateTaskRequest(title="\u00a0\u3000"))


def instants(kind: type[Message]) -> list[str]:
    return [field.name for field in kind.DESCRIPTOR.fields if field.message_type is Timestamp.DESCRIPTOR]


WITH_INSTANTS = [kind for kind in map(request_class, METHODS) if len(instants(kind)) > 1]


@pytest.mark.parametrize("kind", WITH_INSTANTS, ids=lambda kind: kind.DESCRIPTOR.name)
def test_instants_that_are_thousands_of_years_apart_are_compared_too(kind: type[Message]) -> None:
    first, last = Timestamp(seconds=0), Timestamp(seconds=253_402_300_799)
    for values in product((first, last), repeat=len(instants(kind))):
        request = kind(**dict(zip(instants(kind), values, strict=True)))
        with suppress(InvalidRequest):
            validation.check(request)


def test_a_request_that_keeps_every_rule_passes() -> None:
    validation.check(pb.CreateTaskRequest(title="x" * 255, description="y" * 10_000))
    # Zero bytes that are not text.
    validation.check(pb.UpdateTaskRequest(task_id=TASK_ID, update_mask={"paths": ["is_recurring"]}, is_recurring=False))


def test_bytes_become_a_checked_request() -> None:
    read = validation.reader(pb.CreateTaskRequest.DESCRIPTOR)
    request = pb.CreateTaskRequest(title="x")
    assert read(request.SerializeToString()) == request
    for title in ("", "a\0b"):
        with pytest.raises(InvalidRequest, match="title"):
            read(pb.CreateTaskRequest(title=title).SerializeToString())
    with pytest.raises(InvalidRequest, match="CreateTaskRequest"):
        read(b"\xff")


def test_a_hundred_broken_fields_make_a_short_error() -> None:
    with pytest.raises(InvalidRequest) as refused:
        validation.check(pb.BatchCreateTasksRequest(requests=[pb.CreateTaskRequest()] * 100))
    assert len(refused.value.fields) == 20


def read(request: Message) -> Message:
    """The request as a handler gets it."""
    return validation.reader(request.DESCRIPTOR)(request.SerializeToString())


OTHER_CASE, SLOT = TASK_ID.upper(), "_20260615T090000"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (pb.GetTaskRequest(task_id=OTHER_CASE), pb.GetTaskRequest(task_id=TASK_ID)),
        (
            pb.CreateTaskRequest(title="ABC", request_id=OTHER_CASE),
            pb.CreateTaskRequest(title="ABC", request_id=TASK_ID),
        ),
        (
            pb.BatchCreateTasksRequest(request_id=OTHER_CASE, requests=[pb.CreateTaskRequest(title="ABC")]),
            pb.BatchCreateTasksRequest(request_id=TASK_ID, requests=[pb.CreateTaskRequest(title="ABC")]),
        ),
        (
            notification_service_pb2.MarkReadRequest(notification_ids=[OTHER_CASE]),
            notification_service_pb2.MarkReadRequest(notification_ids=[TASK_ID]),
        ),
        (
            occurrence_service_pb2.GetOccurrenceRequest(occurrence_id=OTHER_CASE + SLOT),
            occurrence_service_pb2.GetOccurrenceRequest(occurrence_id=TASK_ID + SLOT),
        ),
    ],
    ids=lambda request: request.DESCRIPTOR.name,
)
def test_uuids_are_compared_as_values(sent: Message, expected: Message) -> None:
    assert read(sent) == read(expected) == expected


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (notification_service_pb2.MarkReadRequest(notification_ids=[TASK_ID, OTHER_CASE]), "notification_ids"),
        (notification_service_pb2.MarkReadRequest(notification_ids=[OTHER_CASE, OTHER_CASE]), "notification_ids"),
        (
            focus_session_service_pb2.ReorderSessionTasksRequest(
                focus_session_id=TASK_ID, session_task_ids=[OTHER_CASE, TASK_ID]
            ),
            "session_task_ids",
        ),
    ],
)
def test_a_uuid_that_is_to_be_there_once_is_not_there_in_another_case(sent: Message, field: str) -> None:
    with pytest.raises(InvalidRequest, match="unique") as refused:
        read(sent)
    expected = FieldViolation(field, "repeated value must contain unique items", "repeated.unique")
    assert refused.value.fields == (expected,)


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000, 2**31 - 1])
def test_an_instant_whose_nanoseconds_are_none_is_named(nanos: int) -> None:
    instant = Timestamp(seconds=1000, nanos=nanos)
    for sent, field in (
        (pb.CreateTaskRequest(title="x", due_time=instant), "due_time"),
        (
            a_batch(pb.CreateTaskRequest(title="x"), pb.CreateTaskRequest(title="x", due_time=instant)),
            "requests[1].due_time",
        ),
        (pb.UpdateTaskRequest(task_id=TASK_ID, update_mask={"paths": ["due_time"]}, due_time=instant), "due_time"),
    ):
        with pytest.raises(InvalidRequest, match="nanos") as refused:
            read(sent)
        assert [violation.field for violation in refused.value.fields] == [field]


def test_the_last_instant_is_the_end_of_the_year_9999() -> None:
    last = Timestamp(seconds=253_402_300_799, nanos=999_999_999)
    assert read(pb.CreateTaskRequest(title="x", due_time=last)).due_time == last  # type: ignore[attr-defined]
    with pytest.raises(InvalidRequest, match="due_time"):
        read(pb.CreateTaskRequest(title="x", due_time=Timestamp(seconds=last.seconds + 1)))
