"""Bad requests are refused before any service sees them."""

import base64
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf import json_format

from harness.clients import CallResult, Grpc, GrpcWeb, Rest
from harness.rpcs import BY_NAME
from tests.gateway.upstream import Upstream

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT.value[0]
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
MIB = 1 << 20
CREATE, LIST, UPDATE = BY_NAME["CreateTask"], BY_NAME["ListTasks"], BY_NAME["UpdateTask"]


def created(rest: Rest, token: str, content: str | bytes | Iterator[bytes]) -> CallResult:
    return rest.send("POST", "/v1/tasks", token, content=content, headers={"content-type": "application/json"})


def is_malformed(response: CallResult) -> bool:
    return (response.http, response.code, response.reason) == (400, INVALID_ARGUMENT, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 5),
        ("title", {"a": 1}),
        ("isRecurring", "perhaps"),
        ("isRecurring", 7),
        ("recurrenceSchedule", "EVERY_BLUE_MOON"),
        ("recurrenceSchedule", True),
        ("dueTime", "tomorrow"),
        ("dueTime", "2026-02-30T00:00:00Z"),
        ("dueTime", 1795366800),
    ],
)
def test_a_field_of_the_wrong_type_is_named(rest: Rest, upstream: Upstream, token: str, field: str, value: Any) -> None:
    before = len(upstream.calls(CREATE))

    result = rest.send("POST", "/v1/tasks", token, json={"title": "x", field: value})

    assert is_malformed(result)
    assert {field, _snake(field)} & set(result.message.replace("'", ":").replace(" ", ":").split(":")), result.message
    assert len(upstream.calls(CREATE)) == before


def test_a_list_for_a_single_value_is_refused(rest: Rest, token: str) -> None:
    result = rest.send("POST", "/v1/tasks", token, json={"title": ["x"]})

    assert is_malformed(result)
    assert "field is not repeating" in result.message


@pytest.mark.parametrize(
    "content",
    ['{"title":', "{title:x}", '{"title":"x"} and more', '[{"title":"x"}]', '"x"', b'{"title":"\xff\xfe"}', "\x00"],
)
def test_malformed_json_is_refused(rest: Rest, token: str, content: str | bytes) -> None:
    response = created(rest, token, content)

    assert is_malformed(response)
    assert response.message


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_json_nested_ten_thousand_deep_is_refused(rest: Rest, token: str, opening: str, closing: str) -> None:
    response = created(rest, token, '{"title":"x","deep":' + opening * 10_000 + "1" + closing * 10_000 + "}")

    assert is_malformed(response)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("nope=1", "nope"),
        ("page_size=abc", "page_size"),
        ("page_size=99999999999", "page_size"),
        ("order=SIDEWAYS", "order"),
        ("due_from=yesterday", "due_from"),
        ("isRecurring=perhaps", "is_recurring"),
    ],
)
def test_a_bad_query_parameter_is_named(rest: Rest, token: str, query: str, named: str) -> None:
    result = rest.get(f"/v1/tasks?{query}", token)

    assert is_malformed(result)
    assert named in result.message


def test_query_parameters_are_taken_in_both_spellings(rest: Rest, upstream: Upstream, token: str) -> None:
    query = (
        "pageSize=3&page_token=a%20b&states=TASK_STATE_PENDING&states=TASK_STATE_COMPLETE&dueFrom=2026-01-01T00:00:00Z"
    )

    assert rest.get(f"/v1/tasks?{query}", token).ok

    expected = json_format.ParseDict(
        {
            "pageSize": 3,
            "pageToken": "a b",
            "states": ["TASK_STATE_PENDING", "TASK_STATE_COMPLETE"],
            "dueFrom": "2026-01-01T00:00:00Z",
        },
        pb.ListTasksRequest(),
    )
    assert upstream.last(LIST).request == expected


def test_an_unknown_field_of_a_body_is_dropped(rest: Rest, upstream: Upstream, token: str) -> None:
    assert rest.send("POST", "/v1/tasks", token, json={"title": "x", "bogus": {"deep": 1}}).ok

    assert upstream.last(CREATE).request == pb.CreateTaskRequest(title="x")


def test_an_id_in_the_body_never_overrides_the_id_in_the_path(rest: Rest, upstream: Upstream, token: str) -> None:
    assert is_malformed(rest.send("PATCH", "/v1/tasks/mine", token, json={"task_id": "yours", "title": "x"}))

    rest.send("PATCH", "/v1/tasks/mine", token, json={"taskId": "yours", "title": "x"})

    assert {call.request.task_id for call in upstream.calls(UPDATE)} <= {"mine", _ANY_ID}


@pytest.mark.parametrize("path", ["/v1/tasks/a%2Fb", "/v1/tasks/a%5Cb"])
def test_an_escaped_slash_is_refused(rest: Rest, token: str, path: str) -> None:
    result = rest.get(path, token)

    assert is_malformed(result)
    assert result.message == "The path or a header of the request is bad."


def test_a_header_with_an_underscore_is_refused(rest: Rest, token: str) -> None:
    result = rest.get("/v1/tasks", token, headers={"x_user_id": "someone"})

    assert is_malformed(result)


def test_headers_beyond_the_limit_are_refused(rest: Rest, token: str) -> None:
    large = rest.get("/v1/tasks", token, headers={"x-padding": "x" * 20_000})
    many = rest.get("/v1/tasks", token, headers={f"x-{number}": "x" for number in range(100)})

    assert [(response.http, response.reason) for response in (large, many)] == [(431, "HEADERS_TOO_LARGE")] * 2


def test_a_body_of_two_mebibytes_is_too_large_by_rest(rest: Rest, upstream: Upstream, token: str) -> None:
    before = len(upstream.calls(CREATE))

    whole = created(rest, token, '{"title":"' + "x" * 2 * MIB + '"}')
    in_pieces = created(rest, token, iter([b'{"title":"', *[b"x" * 65536] * 32, b'"}']))

    for response in (whole, in_pieces):
        assert (response.http, response.code, response.reason) == (413, RESOURCE_EXHAUSTED, "BODY_TOO_LARGE")
    assert len(upstream.calls(CREATE)) == before


def test_a_message_of_two_mebibytes_is_too_large_by_grpc(
    rpc: Grpc, web: GrpcWeb, upstream: Upstream, token: str
) -> None:
    before = len(upstream.calls(CREATE))

    for client in (rpc, web):
        result = client.call(CREATE, pb.CreateTaskRequest(title="x" * 2 * MIB), token)
        assert (result.code, result.message) == (RESOURCE_EXHAUSTED, "The body of the request is too large.")
    assert len(upstream.calls(CREATE)) == before


IMPORT = BY_NAME["ImportEvents"]


def imported(rest: Rest, token: str, size: int) -> CallResult:
    """Imports a file of so many bytes by REST."""
    content = '{"content":"' + base64.b64encode(b"x" * size).decode() + '"}'
    return rest.send(
        "POST", "/v1/calendar:import", token, content=content, headers={"content-type": "application/json"}
    )


def test_a_file_of_four_mebibytes_passes_by_rest_and_one_of_five_does_not(
    rest: Rest, upstream: Upstream, token: str
) -> None:
    size = 4 * MIB - 1024  # gRPC itself takes no more of the service that stands for ours

    assert imported(rest, token, size).ok
    assert len(upstream.last(IMPORT).request.content) == size

    arrived = len(upstream.calls(IMPORT))
    assert (imported(rest, token, 5 * MIB).http, len(upstream.calls(IMPORT))) == (413, arrived)


def test_a_body_below_the_limit_passes(rest: Rest, upstream: Upstream, token: str) -> None:
    assert created(rest, token, '{"title":"' + "x" * 1_000_000 + '"}').ok

    assert len(upstream.last(CREATE).request.title) == 1_000_000


_ANY_ID = "00000000-0000-7000-8000-000000000000"


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
