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

from contract.methods import Method
from harness.rpcs import METHODS, descriptor
from harness.valid_requests import valid_request
from mesh.rpc import validation
from mesh.rpc.fast_validation import Check, UnknownRuleError, fast_validation

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


LEFT_TO_PROTOVALIDATE = {
    "focusmesh.auth.v1.LoginRequest": "email: string.email",
    "focusmesh.auth.v1.RegisterRequest": "email: string.email",
    "focusmesh.auth.v1.RequestEmailVerificationRequest": "email: string.email",
    "focusmesh.auth.v1.RequestPasswordResetRequest": "email: string.email",
    "focusmesh.auth.v1.UpdateMeRequest": "update_mask: cel",
    "focusmesh.auth.v1.UpdateSettingsRequest": "update_mask: cel",
    "focusmesh.calendar.v1.DeleteEventRequest": "message.cel: (this.scope == 0 || this.scope == 3) != has(this.slot)",
    "focusmesh.calendar.v1.ImportEventsRequest": "content: bytes",
    "focusmesh.calendar.v1.UpdateEventRequest": "message.cel: (this.scope == 3) != has(this.slot)",
    "focusmesh.history.v1.AddManualSessionRequest": "message.cel: !has(this.todo_task_id) || has(this.task_title)",
    "focusmesh.history.v1.UpdateArchivedSessionRequest": (
        "message.cel: !('start_time' in this.update_mask.paths) || has(this.start_time)"
    ),
    "focusmesh.history.v1.UpdateGoalsRequest": "update_mask: cel",
    "focusmesh.notification.v1.MarkReadRequest": "notification_ids: repeated.min_items",
    "focusmesh.notification.v1.RegisterPushSubscriptionRequest": "p256dh: string.pattern ^[A-Za-z0-9_-]{87}=?$",
    "focusmesh.notification.v1.SnoozeReminderRequest": "message.cel: has(this.minutes) != has(this.remind_time)",
    "focusmesh.notification.v1.UpdateNotificationPreferencesRequest": "update_mask: cel",
    "focusmesh.notification.v1.UpdateWebhookRequest": "update_mask: cel",
    "focusmesh.notification.v1.VerifyPhoneRequest": r"phone_number: string.pattern ^\+[1-9][0-9]{6,14}$",
    "focusmesh.pomodoro.v1.CreateFocusSessionRequest": "message.cel: this.start || this.when_running == 0",
    "focusmesh.pomodoro.v1.UpdateFocusSessionRequest": (
        "message.cel: !('focus_minutes' in this.update_mask.paths) || has(this.focus_minutes)"
    ),
    "focusmesh.pomodoro.v1.UpdateSessionTaskRequest": (
        "message.cel: !('title' in this.update_mask.paths) || has(this.title)"
    ),
    "focusmesh.recurrence.v1.PreviewRecurrenceRequest": "message.cel: has(this.draft) != (this.schedule_id != '')",
    "focusmesh.recurrence.v1.SkipOccurrenceRequest": (
        "slot: string.pattern ^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{6})?)?$"
    ),
    "focusmesh.recurrence.v1.UpdateSeriesRequest": "message.cel: (this.scope == 3) != has(this.slot)",
    "focusmesh.todo.v1.ApplyInstanceRequest": "change: oneof.required",
    "focusmesh.todo.v1.BatchCreateTasksRequest": "requests: repeated.min_items",
    "focusmesh.todo.v1.FindOwnedTasksRequest": "task_ids: repeated.min_items",
    "focusmesh.todo.v1.ImportTasksRequest": "tasks: cel",
    "focusmesh.todo.v1.UpdateTaskRequest": ("message.cel: !('title' in this.update_mask.paths) || has(this.title)"),
}
"""Request types that fast validation does not decide, and the first rule that it does not know.

A sign-in and a registration hash a password, for which 40 µs are nothing; updates and batches are rarer than reads.
A type that is often called belongs here only when its rule cannot be compiled in a few lines.
"""


def undecided(request: Descriptor) -> str | None:
    """The rule for which protovalidate has to look at every message of a type."""
    try:
        fast_validation(request)
    except UnknownRuleError as error:
        return str(error)
    return None


COMPILED = [request for request in REQUESTS if undecided(request) is None]


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
        "2026-06-15",
        "2026-06-15\n",
        "2026-13-01",
        "2026-06-155",
        "2026-06-15T09:00:00",
        "2026-06-15T09:00:00\n",
        "09:00",
        f"{ID}_20260615T090000",
        f"{ID}_20260615\n",
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
def messages(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    chosen: dict[str, Any] = {}
    for field in descriptor.fields:
        if draw(st.booleans()):
            strategy = values(field)
            chosen[field.name] = draw(st.lists(strategy, max_size=2) if field.is_repeated else strategy)
    return GetMessageClass(descriptor)(**chosen)


def test_every_request_type_of_the_contract_is_compiled_or_named_with_its_rule() -> None:
    found = {request.full_name: undecided(request) for request in REQUESTS}
    assert {name: rule for name, rule in found.items() if rule is not None} == LEFT_TO_PROTOVALIDATE


@pytest.mark.parametrize("descriptor", COMPILED, ids=lambda request: request.full_name)
@given(st.data())
def test_what_fast_validation_accepts_breaks_no_rule(descriptor: Descriptor, data: st.DataObject) -> None:
    message = data.draw(messages(descriptor))
    if check_of(descriptor)(message):
        assert not protovalidate.collect_violations(message)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.full_service}/{method.name}")
def test_the_smallest_valid_request_is_accepted_at_once_where_its_type_is_compiled(method: Method) -> None:
    message = valid_request(method)
    assert not protovalidate.collect_violations(message)
    if message.DESCRIPTOR.full_name not in LEFT_TO_PROTOVALIDATE:
        assert check_of(message.DESCRIPTOR)(message)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.full_service}/{method.name}")
def test_a_request_is_read_the_same_whether_its_type_is_compiled_or_not(method: Method) -> None:
    read, message = validation.reader(descriptor(method).input_type), valid_request(method)
    assert read(message.SerializeToString()) == message


def test_a_service_says_at_its_start_which_requests_protovalidate_decides(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    validation.reader(todo.UpdateTaskRequest.DESCRIPTOR)
    validation.reader(todo.CreateTaskRequest.DESCRIPTOR)
    [line] = caplog.messages
    rule = LEFT_TO_PROTOVALIDATE["focusmesh.todo.v1.UpdateTaskRequest"]
    assert line == f"every focusmesh.todo.v1.UpdateTaskRequest is validated by protovalidate: {rule}"


@pytest.mark.parametrize(
    "request_message",
    [
        todo.CreateTaskRequest(title="x"),
        todo.CreateTaskRequest(request_id=ID, title="x" * 255, description="", due_time={"seconds": 1}),
        todo.CreateTaskRequest(title="x", is_recurring=True, recurrence_schedule=1),  # type: ignore[arg-type]
        todo.CreateTaskRequest(title="x", time_zone="Europe/Berlin", repeat_from=3),  # type: ignore[arg-type]
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
        todo.ListTasksRequest(states=[1]),  # type: ignore[list-item]
        todo.CreateTaskRequest(title="x", reminder_offsets=["-P1D"]),
        todo.CreateTaskRequest(title="x", recurrence={"frequency": 1}),
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
    assert undecided(message_with(text("id", uuid=True, **further))) == f"id: string.uuid and {next(iter(further))}"


@pytest.mark.parametrize(
    "expression",
    [
        "this.a > 0 && (this.b > 0 || !has(this.c) || this.a > this.b)",
        "this.a > 0 ? !has(this.c) || this.b > 0 : this.a > this.b",
        "!has(this.c) || this.a > this.b && (this.a > 0 || !has(this.c))",
        "!has(this.c) || size('a || b') > 3",
        "!has(this.c) || (this.a > 0) ? this.b > 0 : this.a > this.b",
        "!has(this.c) || (this.a > 0 || this.b > 0)",
        "this.a > this.b && int(this.a) - int(this.b) <= 60 && this.a - this.b <= duration('60s') || has(this.c)",
        "this.a > this.b && int(this.a) - int(this.b) <= 60 && this.a - this.b <= duration('61s')",
    ],
)
def test_an_expression_of_another_form_is_left_to_protovalidate(expression: str) -> None:
    fields = number("a", optional=True), number("b", optional=True), number("c", optional=True)
    assert undecided(message_with(*fields, expression=expression)) == f"message.cel: {expression}"


def test_the_known_form_is_decided_where_fields_know_whether_they_are_set() -> None:
    known = "!has(this.a) || !has(this.b) || this.a > this.b"
    optional = message_with(number("a", optional=True), number("b", optional=True), expression=known)
    check, new = fast_validation(optional), GetMessageClass(optional)
    assert (check(new(a=1)), check(new(a=1, b=2))) == (True, False)
    plain = message_with(number("a", optional=False), number("b", optional=True), expression=known)
    assert undecided(plain) == f"message.cel: {known}"
