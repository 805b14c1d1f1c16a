"""What is surely valid has no violation: protovalidate alone says what the rules mean."""

from functools import cache
from typing import Any

import protovalidate
import pytest
from buf.validate import validate_pb2
from focusmesh.audit.v1 import audit_service_pb2
from focusmesh.auth.v1 import key_service_pb2, session_service_pb2, user_service_pb2
from focusmesh.realtime.v1 import realtime_service_pb2
from focusmesh.todo.v1 import task_service_pb2 as todo
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from mesh.surely_valid import Check, surely_valid

ID = "0190a000-0000-7000-8000-000000000001"
CONTRACTS = (
    audit_service_pb2,
    key_service_pb2,
    session_service_pb2,
    user_service_pb2,
    realtime_service_pb2,
    todo,
)
REQUESTS: list[Descriptor] = [
    method.input_type
    for contract in CONTRACTS
    for service in contract.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
FIRST, LAST = 0, 253_402_300_799
NUMBERS = st.sampled_from([-1, 0, 1, 2, 50, 200, 201, 2**31 - 1])
TIMES = st.fixed_dictionaries(
    {
        "seconds": st.sampled_from([FIRST - 1, FIRST, 1, LAST - 1, LAST, LAST + 1]),
        "nanos": st.sampled_from([-1, 0, 1, 999_999_999, 1_000_000_000]),
    }
)


@cache
def check_of(request: Descriptor) -> Check:
    return surely_valid(request)


def texts(field: FieldDescriptor) -> st.SearchStrategy[str]:
    rules = field.GetOptions().Extensions[validate_pb2.field].string
    lengths = [length for bound in (rules.min_len, rules.max_len) if bound for length in (bound - 1, bound, bound + 1)]
    edges = [
        "",
        "x",
        " ",
        "\t\n ",
        "\v",
        "\u00a0",
        "\u2003x",
        "ä",
        "\0",
        ID,
        ID.upper(),
        f"{ID}\n",
        ID.replace("-", ""),
    ]
    return st.sampled_from([*edges, *("ö" * length for length in lengths)])


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values of one field at, below and above the bounds of its rules."""
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return TIMES
        return st.just({})
    if field.enum_type is not None:
        return st.sampled_from([*field.enum_type.values_by_number, 99])
    return {
        FieldDescriptor.TYPE_STRING: texts(field),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=3),
    }.get(field.type, NUMBERS)


@st.composite
def requests(draw: st.DrawFn) -> Message:
    descriptor = draw(st.sampled_from(REQUESTS))
    chosen: dict[str, Any] = {}
    for field in descriptor.fields:
        if draw(st.booleans()):
            strategy = values(field)
            chosen[field.name] = draw(st.lists(strategy, max_size=2) if field.is_repeated else strategy)
    return GetMessageClass(descriptor)(**chosen)


@given(requests())
def test_what_is_surely_valid_breaks_no_rule(request: Message) -> None:
    if check_of(request.DESCRIPTOR)(request):
        assert not protovalidate.collect_violations(request)


@pytest.mark.parametrize(
    "request_message",
    [
        todo.CreateTaskRequest(title="x"),
        todo.CreateTaskRequest(request_id=ID, title="x" * 255, description="", due_time={"seconds": 1}),
        todo.CreateTaskRequest(title="x", is_recurring=True, recurrence_schedule=1),  # type: ignore[arg-type]
        todo.GetTaskRequest(task_id=ID),
        todo.CompleteTaskRequest(task_id=ID, request_id=ID),
        todo.ListTasksRequest(),
        todo.ListTasksRequest(page_size=50, page_token="x", due_from={"seconds": 1}, is_recurring=False),
        audit_service_pb2.ListAuditRecordsRequest(page_size=50),
    ],
)
def test_common_requests_need_no_second_look(request_message: Message) -> None:
    assert check_of(request_message.DESCRIPTOR)(request_message)


@pytest.mark.parametrize(
    "request_message",
    [
        todo.BatchCreateTasksRequest(tasks=[todo.NewTask(title="x")]),
        todo.UpdateTaskRequest(task_id=ID, update_mask={"paths": ["title"]}, title="x"),
        todo.ListTasksRequest(states=[1]),  # type: ignore[list-item]
    ],
)
def test_what_only_protovalidate_understands_is_left_to_it(request_message: Message) -> None:
    assert not protovalidate.collect_violations(request_message)
    assert not check_of(request_message.DESCRIPTOR)(request_message)
