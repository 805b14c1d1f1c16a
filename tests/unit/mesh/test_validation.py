"""Rules of the contract, named by field."""

import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.message import Message

from mesh.rpc import validation
from mesh.runtime.errors import InvalidRequest

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
