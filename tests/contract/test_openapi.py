"""The committed OpenAPI document: valid, complete, and true of real requests and responses."""

from functools import cache
from typing import Any

import pytest
import yaml
from focusmesh.auth.v1 import session_pb2, session_service_pb2, user_service_pb2
from focusmesh.todo.v1 import task_pb2, task_service_pb2
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message
from google.rpc import (
    error_details_pb2,
    status_pb2,
)
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from contract.methods import Method
from envoy.responses import DOMAIN, RESPONSES
from harness.rpcs import BY_NAME, request_class
from mesh.rpc import validation
from mesh.rpc.status import status_of
from mesh.runtime.errors import FieldViolation, InvalidRequest, Overloaded, ScopeMissing, TokenMissing
from services.todo.errors import TaskNotFound
from tools import generate, openapi

TASK_ID = "0198c0de-0000-7000-8000-000000000001"
ROUTED = [rpc for rpc in generate.contract().rpcs if rpc.path]
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
Json = dict[str, Any]


@cache
def document() -> Json:
    """The committed document."""
    found: Json = yaml.safe_load(openapi.DOCUMENT.read_text())
    return found


@cache
def operations() -> dict[str, Json]:
    """Every operation by the RPC it stands for."""
    return {operation["x-rpc"]: operation for path in document()["paths"].values() for operation in path.values()}


def problems(schema: Json, instance: object) -> list[str]:
    """The violations of a schema of the document in an instance."""
    whole = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:openapi", whole)
    absolute = yaml.safe_load(yaml.safe_dump(schema).replace("'#/", "'urn:openapi#/"))
    checker = Draft202012Validator(absolute, registry=registry, format_checker=FormatChecker())
    return [error.message for error in checker.iter_errors(instance)]


def request_schema(rpc: str) -> Json:
    """The schema of an operation's body."""
    schema: Json = operations()[rpc]["requestBody"]["content"]["application/json"]["schema"]
    return schema


def response_schema(rpc: str, status: int) -> Json:
    """The schema of an operation's response."""
    response = operations()[rpc]["responses"][str(status)]
    if "$ref" in response:
        response = document()["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    schema: Json = response["content"]["application/json"]["schema"]
    return schema


def as_rest(message: Message) -> Json:
    """A message as the gateway shows it: camelCase, with zero values."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def a_task(**changes: Any) -> task_pb2.Task:
    """A whole task."""
    task = task_pb2.Task(
        id=TASK_ID, title="Buy groceries", state=task_pb2.TASK_STATE_PENDING, etag="v1", description="Milk", **changes
    )
    task.create_time.FromJsonString("2026-01-31T08:30:00Z")
    task.update_time.FromJsonString("2026-01-31T08:30:00.123456Z")
    return task


def test_the_document_is_valid_openapi() -> None:
    validate(document())


@pytest.mark.parametrize("rpc", ROUTED, ids=lambda rpc: rpc.full_name)
def test_an_operation_says_who_may_call_it_and_how_it_is_refused(rpc: Method) -> None:
    operation = operations()[rpc.full_name]
    assert operation["security"] == ([] if rpc.access == "PUBLIC" else [{"bearer": [rpc.scope]}])
    assert {"400", "429", "500", "503", "504"} <= operation["responses"].keys()
    assert ("401" in operation["responses"]) or rpc.access == "PUBLIC"
    described = yaml.safe_dump({"responses": operation["responses"], "shared": document()["components"]["responses"]})
    assert [reason for reason in rpc.errors or () if reason not in described] == []


def test_rpcs_without_a_route_are_left_out() -> None:
    assert operations().keys() == {rpc.full_name for rpc in ROUTED}
    assert "Subscribe" not in openapi.DOCUMENT.read_text()


def test_the_document_says_only_what_the_contract_does() -> None:
    text = openapi.DOCUMENT.read_text()
    for trace in ("A Timestamp represents", "`FieldMask` represents", "_lte_exclusive", "TASK_STATE_UNSPECIFIED"):
        assert trace not in text


@pytest.mark.parametrize(
    "task",
    [a_task(), a_task(is_recurring=True, recurrence_schedule=task_pb2.RECURRENCE_SCHEDULE_DAILY)],
    ids=["once", "recurring"],
)
def test_responses_as_the_gateway_shows_them_are_valid(task: task_pb2.Task) -> None:
    rpc = "focusmesh.todo.v1.TaskService/"
    one = as_rest(task_service_pb2.GetTaskResponse(task=task))
    many = as_rest(task_service_pb2.ListTasksResponse(tasks=[task], next_page_token="t"))
    assert problems(response_schema(rpc + "GetTask", 200), one) == []
    assert problems(response_schema(rpc + "ListTasks", 200), many) == []


def test_tokens_and_accounts_are_valid() -> None:
    tokens = session_pb2.Tokens(access_token="a", refresh_token="r")
    tokens.access_token_expire_time.FromJsonString("2026-01-31T08:30:00Z")
    tokens.refresh_token_expire_time.FromJsonString("2026-03-02T08:30:00Z")
    login = as_rest(session_service_pb2.LoginResponse(tokens=tokens))
    account = user_service_pb2.RegisterResponse()
    account.user.email = "ada@example.org"
    account.user.create_time.FromJsonString("2026-01-31T08:30:00Z")
    account.user.update_time.FromJsonString("2026-01-31T08:30:00Z")
    assert problems(response_schema("focusmesh.auth.v1.SessionService/Login", 200), login) == []
    assert problems(response_schema("focusmesh.auth.v1.UserService/Register", 200), as_rest(account)) == []


@pytest.mark.parametrize(
    ("rpc", "body", "valid"),
    [
        ("CreateTask", {"title": "Buy groceries", "dueTime": "2026-01-31T08:30:00Z"}, True),
        (
            "CreateTask",
            {"title": "Buy groceries", "isRecurring": True, "recurrenceSchedule": "RECURRENCE_SCHEDULE_DAILY"},
            True,
        ),
        ("CreateTask", {"title": ""}, False),
        ("CreateTask", {"title": "x" * 256}, False),
        ("CreateTask", {"title": "x", "titel": "y"}, False),
        ("CreateTask", {"title": "x", "requestId": "no uuid"}, False),
        ("CreateTask", {"title": "x", "recurrenceSchedule": "NEVER"}, False),
        ("CreateTask", {}, False),
        ("UpdateTask", {"updateMask": "title,dueTime", "title": "y"}, True),
        ("UpdateTask", {"updateMask": "dueTime", "dueTime": None, "description": None, "repeatFrom": None}, True),
        ("UpdateTask", {"updateMask": None}, False),
        ("UpdateTask", {"updateMask": "state"}, False),
        ("UpdateTask", {"title": "y"}, False),
        ("BatchCreateTasks", {"requests": [{"title": "a"}, {"title": "b"}]}, True),
        ("BatchCreateTasks", {"requests": []}, False),
    ],
)
def test_a_body_is_valid_when_the_contract_takes_it(rpc: str, body: Json, valid: bool) -> None:
    found = problems(request_schema(f"focusmesh.todo.v1.TaskService/{rpc}"), body)
    assert (found == []) is valid, found


def test_a_response_has_what_the_document_requires_and_never_null() -> None:
    task = document()["components"]["schemas"]["focusmesh.todo.v1.Task"]
    assert {"id", "title", "state", "etag", "isRecurring", "reminderOffsets", "createTime"} <= set(task["required"])
    assert {"description", "dueTime", "completeTime", "deleteTime"}.isdisjoint(task["required"])
    whole = as_rest(task_service_pb2.GetTaskResponse(task=a_task()))
    whole["task"]["description"] = None
    assert problems(response_schema("focusmesh.todo.v1.TaskService/GetTask", 200), whole) != []


def test_every_body_has_a_name_and_prose_has_the_names_of_rest() -> None:
    for rpc in ROUTED:
        if rpc.body == "*":
            assert request_schema(rpc.full_name).keys() == {"$ref"}
    assert operations()["focusmesh.todo.v1.TaskService/UpdateTask"]["summary"]
    assert "`due_time`" not in document()["components"]["schemas"]["focusmesh.todo.v1.Task"]["description"]


@pytest.mark.parametrize("name", yaml.safe_load(openapi.EXAMPLES.read_text()))
def test_an_example_works_when_it_is_pasted(name: str) -> None:
    (rpc,) = (rpc for rpc in ROUTED if rpc.request == name)
    body = operations()[rpc.full_name]["requestBody"]["content"]["application/json"]["example"]
    assert problems(request_schema(rpc.full_name), body) == []
    in_path = dict.fromkeys(openapi.PATH_VARIABLE.findall(rpc.path), TASK_ID)
    request = json_format.ParseDict(body | in_path, request_class(BY_NAME[rpc.name])())
    validation.check(request)


def test_readers_meet_accounts_and_tasks_before_the_audit_log() -> None:
    tags = [tag["name"] for tag in document()["tags"]]
    assert tags.index("UserService") < tags.index("TaskService") < tags.index("AuditService")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest(summary="title", fields=[FieldViolation("title", "too long", "string.max_len")]), 400),
        (TokenMissing(), 401),
        (ScopeMissing(scope="tasks:write"), 403),
        (TaskNotFound(task_id=TASK_ID), 404),
        (Overloaded(retry_after=1.5), 429),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_errors_as_the_gateway_shows_them_are_valid(error: Any, status: int) -> None:
    shown = as_rest(status_of(error, "todo.focusmesh"))
    schema = response_schema("focusmesh.todo.v1.TaskService/UpdateTask", status)
    assert problems(schema, shown) == []
    assert problems(schema, {**shown, "details": []}) != []


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415, 429, 500, 503, 504])
def test_errors_that_the_gateway_makes_itself_are_valid(status: int) -> None:
    schema = response_schema("focusmesh.todo.v1.TaskService/CreateTask", status)
    made = [response for response in RESPONSES if (response.becomes or response.status) == status]
    assert made
    for response in made:
        info = {"@type": ERROR_INFO, "reason": response.reason, "domain": DOMAIN}
        assert problems(schema, {"code": response.number, "message": response.text, "details": [info]}) == []


def test_an_error_may_have_a_detail_that_is_not_known_but_known_ones_keep_their_form() -> None:
    schema = response_schema("focusmesh.todo.v1.TaskService/UpdateTask", 404)
    shown = as_rest(status_of(TaskNotFound(task_id=TASK_ID), "todo.focusmesh"))
    details = shown["details"]
    assert problems(schema, {**shown, "details": [*details, {"@type": "type.googleapis.com/new.Kind", "a": 1}]}) == []
    assert problems(schema, {**shown, "details": [*details, {"a": 1}]}) != []
    assert problems(schema, {**shown, "details": [*details, {**details[0], "reason": 1}]}) != []


def test_reasons_of_errors_are_explained_in_the_names_of_rest() -> None:
    described = [text for node in openapi.nodes(document()) if isinstance(text := node.get("description"), str)]
    (reused,) = {line for text in described for line in text.splitlines() if "`REQUEST_ID_REUSED`" in line}
    assert "`requestId`" in reused
    assert [text for text in described if "`update_mask`" in text] == []


def test_an_error_with_another_reason_is_not_valid() -> None:
    unknown = status_pb2.Status(code=5, message="no")
    unknown.details.append(any_pb2.Any())
    unknown.details[0].Pack(error_details_pb2.ErrorInfo(reason="NO_SUCH_REASON", domain="todo.focusmesh"))
    assert problems(response_schema("focusmesh.todo.v1.TaskService/UpdateTask", 404), as_rest(unknown)) != []


def test_a_body_may_be_missing_where_nothing_in_it_is_required() -> None:
    required = {rpc: operation["requestBody"]["required"] for rpc, operation in operations().items() if rpc in (
        "focusmesh.auth.v1.SessionService/CreateGuest", "focusmesh.todo.v1.TaskService/CreateTask"
    )}  # fmt: skip
    assert required == {
        "focusmesh.auth.v1.SessionService/CreateGuest": False,
        "focusmesh.todo.v1.TaskService/CreateTask": True,
    }
