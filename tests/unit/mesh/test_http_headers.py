"""Headers of HTTP that mean a field of a request or of a response."""

from typing import Any

import pytest
from focusmesh.auth.v1 import session_service_pb2
from focusmesh.calendar.v1 import calendar_file_service_pb2, event_service_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.message import Message

from mesh.rpc.http_headers import RequestHeaders, ResponseEtag, json_names
from mesh.runtime.errors import InvalidRequest

KEY = "0190a000-0000-7000-8000-00000000000a"
TASKS = pb.DESCRIPTOR.services_by_name["TaskService"].methods_by_name
SESSIONS = session_service_pb2.DESCRIPTOR.services_by_name["SessionService"].methods_by_name
FEEDS = calendar_file_service_pb2.DESCRIPTOR.services_by_name["CalendarFileService"].methods_by_name
EVENTS = event_service_pb2.DESCRIPTOR.services_by_name["EventService"].methods_by_name


def applied(method: Any, request: Message, *sent: tuple[str, str]) -> Any:
    """The request after the headers of its call were applied."""
    RequestHeaders(method).apply(dict(sent), sent, request)
    return request


def refused_header(method: Any, request: Message, *sent: tuple[str, str]) -> str:
    """The header that the refusal names."""
    before = request.SerializeToString()
    with pytest.raises(InvalidRequest) as refused:
        applied(method, request, *sent)
    assert request.SerializeToString() == before
    [violation] = refused.value.fields
    assert violation.field in str(refused.value)
    return violation.field


@pytest.mark.parametrize("sent", ['"v7"', "v7", ' "v7" '])
def test_if_match_is_the_etag(sent: str) -> None:
    assert applied(TASKS["UpdateTask"], pb.UpdateTaskRequest(), ("if-match", sent)).etag == "v7"
    assert applied(TASKS["UpdateTask"], pb.UpdateTaskRequest(etag="v7"), ("if-match", sent)).etag == "v7"


def test_a_star_matches_every_version() -> None:
    assert not applied(TASKS["DeleteTask"], pb.DeleteTaskRequest(), ("if-match", "*")).HasField("etag")


@pytest.mark.parametrize("sent", ['W/"v7"', "W/v7", '"v7", "v8"', "v7,v8", '"', "", '""', "v 7", "x" * 65])
def test_what_is_not_one_strong_etag_is_refused(sent: str) -> None:
    assert refused_header(TASKS["UpdateTask"], pb.UpdateTaskRequest(), ("if-match", sent)) == "if-match"


@pytest.mark.parametrize("sent", [KEY, KEY.upper(), f'"{KEY}"'])
def test_an_idempotency_key_is_the_request_id(sent: str) -> None:
    for given in ("", KEY):
        request = pb.CreateTaskRequest(request_id=given)
        assert applied(TASKS["CreateTask"], request, ("idempotency-key", sent)).request_id == KEY


@pytest.mark.parametrize("sent", ["", "key", f'"{KEY}', KEY[1:]])
def test_a_key_that_is_no_uuid_is_refused(sent: str) -> None:
    assert refused_header(TASKS["CreateTask"], pb.CreateTaskRequest(), ("idempotency-key", sent)) == "idempotency-key"


@pytest.mark.parametrize(
    ("name", "first", "second"), [("if-match", "v7", "v8"), ("if-match", "v7", "v7"), ("idempotency-key", KEY, KEY)]
)
def test_a_header_that_comes_twice_is_refused(name: str, first: str, second: str) -> None:
    assert refused_header(TASKS["UpdateTask"], pb.UpdateTaskRequest(), (name, first), (name, second)) == name


def test_a_header_that_differs_from_its_field_is_refused() -> None:
    update, other = TASKS["UpdateTask"], KEY[:-1] + "b"
    assert refused_header(update, pb.UpdateTaskRequest(etag="v6"), ("if-match", "v7")) == "if-match"
    assert refused_header(update, pb.UpdateTaskRequest(request_id=other), ("idempotency-key", KEY)) == "idempotency-key"


def test_a_promise_that_a_call_cannot_keep_is_refused() -> None:
    assert refused_header(TASKS["CreateTask"], pb.CreateTaskRequest(), ("if-match", '"v7"')) == "if-match"
    assert refused_header(TASKS["GetTask"], pb.GetTaskRequest(), ("if-match", '"v7"')) == "if-match"
    feed = calendar_file_service_pb2.CreateFeedRequest()
    assert refused_header(FEEDS["CreateFeed"], feed, ("idempotency-key", KEY)) == "idempotency-key"
    for name in ("if-none-match", "if-unmodified-since"):
        assert refused_header(TASKS["UpdateTask"], pb.UpdateTaskRequest(), (name, "*")) == name


def test_a_key_changes_nothing_for_calls_that_may_be_repeated_anyway() -> None:
    for method, request in (
        (TASKS["GetTask"], pb.GetTaskRequest()),
        (SESSIONS["Logout"], session_service_pb2.LogoutRequest()),
    ):
        assert applied(method, request, ("idempotency-key", "any")) == type(request)()
    assert applied(TASKS["GetTask"], pb.GetTaskRequest(), ("if-none-match", '"v7"')) == pb.GetTaskRequest()


def test_a_response_has_the_etag_of_the_resource_in_it() -> None:
    etag = ResponseEtag(TASKS["CreateTask"]).of
    assert etag(pb.CreateTaskResponse(task={"etag": "v1"})) == '"v1"'
    assert etag(pb.CreateTaskResponse()) is None
    occurrence = event_service_pb2.UpdateEventResponse(occurrence={"etag": "v3"})
    assert ResponseEtag(EVENTS["UpdateEvent"]).of(occurrence) == '"v3"'
    assert ResponseEtag(TASKS["ListTasks"]).of(pb.ListTasksResponse(tasks=[{"etag": "v1"}])) is None


def test_names_in_json_are_those_of_all_fields_of_a_method() -> None:
    names = json_names(TASKS["BatchCreateTasks"])
    assert (names["request_id"], names["due_time"], names["is_recurring"]) == ("requestId", "dueTime", "isRecurring")
    assert json_names(TASKS["ListTasks"])["next_page_token"] == "nextPageToken"
