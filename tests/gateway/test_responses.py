"""How responses and errors of services reach callers."""

import grpc
import pytest
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf import descriptor_pb2, message_factory, symbol_database
from google.rpc import error_details_pb2

from contract.descriptors import DESCRIPTOR_SET
from harness.clients import Client, Grpc, Rest, empty
from harness.rpcs import BY_NAME
from tests.gateway.behaviours import refusing, returning
from tests.gateway.upstream import Upstream

GET, LIST, CREATE = BY_NAME["GetTask"], BY_NAME["ListTasks"], BY_NAME["CreateTask"]
DETAIL_TYPES = [
    message.name
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes()).file
    if file.name == "google/rpc/error_details.proto"
    for message in file.message_type
]
HTTP_OF = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


def test_an_error_arrives_with_its_details(client: Client, upstream: Upstream, token: str) -> None:
    about = error_details_pb2.ErrorInfo(
        reason="TASK_NOT_FOUND", domain="todo.focusmesh", metadata={"task_id": "some-id"}
    )
    fields = error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field="task_id", description="Grüße, «id»")]
    )
    with upstream.behaving(GET, refusing("NOT_FOUND", "There is no task «some-id».", about, fields)):
        result = client.call(GET, empty(GET), token)

    assert (result.code, result.message) == (grpc.StatusCode.NOT_FOUND.value[0], "There is no task «some-id».")
    assert result.detail(error_details_pb2.ErrorInfo) == about
    assert result.detail(error_details_pb2.BadRequest) == fields


@pytest.mark.parametrize("code", HTTP_OF)
def test_every_status_has_its_http_status(rest: Rest, upstream: Upstream, token: str, code: str) -> None:
    about = error_details_pb2.ErrorInfo(reason="SOME_REASON", domain="todo.focusmesh")
    with upstream.behaving(CREATE, refusing(code, "No.", about)):
        result = rest.call(CREATE, empty(CREATE), token)

    assert (result.http, result.code, result.message) == (HTTP_OF[code], grpc.StatusCode[code].value[0], "No.")
    assert (result.reason, result.domain) == ("SOME_REASON", "todo.focusmesh")


@pytest.mark.parametrize("name", DETAIL_TYPES)
def test_every_registered_kind_of_detail_is_decoded(rest: Rest, upstream: Upstream, token: str, name: str) -> None:
    kind = symbol_database.Default().pool.FindMessageTypeByName(f"google.rpc.{name}")
    detail = message_factory.GetMessageClass(kind)()
    with upstream.behaving(CREATE, refusing("FAILED_PRECONDITION", "No.", detail)):
        result = rest.call(CREATE, empty(CREATE), token)

    assert result.detail(type(detail)) == detail


def test_an_error_without_details_still_has_the_documented_shape(rest: Rest, upstream: Upstream, token: str) -> None:
    with upstream.behaving(CREATE, refusing("FAILED_PRECONDITION", "No.")):
        result = rest.call(CREATE, empty(CREATE), token)

    assert (result.http, result.message) == (400, "No.")


def test_details_of_a_few_kilobytes_reach_every_caller(client: Client, upstream: Upstream, token: str) -> None:
    about = error_details_pb2.ErrorInfo(reason="LONG", domain="todo.focusmesh", metadata={"list": "x" * 4000})
    with upstream.behaving(GET, refusing("FAILED_PRECONDITION", "No.", about)):
        assert client.call(GET, empty(GET), token).detail(error_details_pb2.ErrorInfo) == about


def test_responses_are_the_same_by_every_way(client: Client, upstream: Upstream, token: str) -> None:
    task = task_pb2.Task(id="1", title="Einkäufe 🛒", state=task_pb2.TASK_STATE_PENDING, etag='"7"')
    task.create_time.FromJsonString("2026-06-15T15:06:40.123456Z")
    response = pb.GetTaskResponse(task=task)
    with upstream.behaving(GET, returning(response)):
        assert client.call(GET, empty(GET), token).response == response


def test_json_has_camel_case_enum_names_and_default_values(rest: Rest, upstream: Upstream, token: str) -> None:
    task = task_pb2.Task(id="1", state=task_pb2.TASK_STATE_PENDING)
    with upstream.behaving(GET, returning(pb.GetTaskResponse(task=task))):
        shown = rest.http.get("/v1/tasks/1", headers={"authorization": f"Bearer {token}"}).json()["task"]

    assert (shown["state"], shown["isRecurring"], shown["title"]) == ("TASK_STATE_PENDING", False, "")


def test_a_large_page_arrives_whole(client: Client, upstream: Upstream, token: str) -> None:
    page = pb.ListTasksResponse(tasks=[task_pb2.Task(id=str(n), description="ä" * 7000) for n in range(200)])
    with upstream.behaving(LIST, returning(page)):
        assert client.call(LIST, empty(LIST), token).response == page


def test_a_response_beyond_the_limit_is_an_error_without_a_leak(rest: Rest, upstream: Upstream, token: str) -> None:
    page = pb.ListTasksResponse(next_page_token="x" * (9 << 20))
    with upstream.behaving(LIST, returning(page)):
        result = rest.call(LIST, empty(LIST), token)

    assert (result.http, result.reason, result.message) == (500, "INTERNAL", "Something went wrong.")


def test_a_response_says_which_request_it_belongs_to(rest: Rest, rpc: Grpc, token: str) -> None:
    by_rest = rest.call(GET, empty(GET), token, {"x-request-id": "chosen-by-the-caller"})
    by_grpc = rpc.call(GET, empty(GET), token)

    assert by_rest.headers["x-request-id"] != "chosen-by-the-caller"
    assert by_grpc.headers["x-request-id"]


def test_a_gateway_made_error_names_the_request(rest: Rest, token: str) -> None:
    result = rest.get("/v1/nowhere", token)

    assert result.domain == "gateway.focusmesh"
    assert result.detail(error_details_pb2.ErrorInfo).metadata["x-request-id"] == result.headers["x-request-id"]
