"""What fast validation accepts has no violation: protovalidate alone defines what the rules mean."""

from functools import cache
from typing import Any

import protovalidate
import pytest
from buf.validate import validate_pb2
from focusmesh.audit.v1 import audit_service_pb2
from focusmesh.todo.v1 import task_service_pb2 as todo
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from mesh.rpc.fast_validation import Check, fast_validation
from tests.support.rpcs import METHODS, descriptor

ID = "0190a000-0000-7000-8000-000000000001"
REQUESTS: list[Descriptor] = [descriptor(method).input_type for method in METHODS]
"""Of every RPC of the contract."""
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
    return fast_validation(request)


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
def test_what_fast_validation_accepts_breaks_no_rule(request: Message) -> None:
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
        todo.BatchCreateTasksRequest(requests=[todo.CreateTaskRequest(title="x")]),
        todo.UpdateTaskRequest(task_id=ID, update_mask={"paths": ["title"]}, title="x"),
        todo.ListTasksRequest(states=[1]),  # type: ignore[list-item]
    ],
)
def test_what_only_protovalidate_understands_is_left_to_it(request_message: Message) -> None:
    assert not protovalidate.collect_violations(request_message)
    assert not check_of(request_message.DESCRIPTOR)(request_message)


def message_with(*fields: FieldDescriptorProto, expression: str = "") -> Descriptor:
    """A type of a contract that nobody has written yet."""
    file = FileDescriptorProto(name="new.proto", package="new", syntax="proto3")
    message = file.message_type.add(name="New", field=fields)
    for number, field in enumerate(message.field, start=1):
        field.number = number
        if field.proto3_optional:
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
    if expression:
        rule = message.options.Extensions[validate_pb2.message].cel.add()
        rule.id, rule.expression = "new", expression
    return DescriptorPool().AddSerializedFile(file.SerializeToString()).message_types_by_name["New"]


def text(name: str, **rules: Any) -> FieldDescriptorProto:
    field = FieldDescriptorProto(name=name, type=FieldDescriptorProto.TYPE_STRING)
    field.options.Extensions[validate_pb2.field].string.MergeFrom(validate_pb2.StringRules(**rules))
    return field


def number(name: str, *, optional: bool) -> FieldDescriptorProto:
    return FieldDescriptorProto(name=name, type=FieldDescriptorProto.TYPE_INT32, proto3_optional=optional)


@pytest.mark.parametrize("further", [{"pattern": "^.{14}7"}, {"min_len": 40}, {"max_len": 3}])
def test_a_uuid_with_a_further_rule_is_left_to_protovalidate(further: dict[str, Any]) -> None:
    check = fast_validation(message_with(text("id", uuid=True, **further)))
    assert not check(GetMessageClass(message_with(text("id", uuid=True)))(id=ID))


@pytest.mark.parametrize(
    "expression",
    [
        "this.a > 0 && (this.b > 0 || !has(this.c) || this.a > this.b)",
        "this.a > 0 ? !has(this.c) || this.b > 0 : this.a > this.b",
        "!has(this.c) || this.a > this.b && (this.a > 0 || !has(this.c))",
        "!has(this.c) || size('a || b') > 3",
    ],
)
def test_an_expression_of_another_form_is_left_to_protovalidate(expression: str) -> None:
    fields = number("a", optional=True), number("b", optional=True), number("c", optional=True)
    type_ = message_with(*fields, expression=expression)
    assert not fast_validation(type_)(GetMessageClass(type_)())


def test_the_known_form_is_decided_where_fields_know_whether_they_are_set() -> None:
    known = "!has(this.a) || !has(this.b) || this.a > this.b"
    optional = message_with(number("a", optional=True), number("b", optional=True), expression=known)
    check, new = fast_validation(optional), GetMessageClass(optional)
    assert (check(new(a=1)), check(new(a=1, b=2))) == (True, False)
    plain = message_with(number("a", optional=False), number("b", optional=True), expression=known)
    assert not fast_validation(plain)(GetMessageClass(plain)(b=1))
