"""Bad requests are refused before any service sees them."""

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf import json_format

from harness.clients import CallResult, Client, Grpc, GrpcWeb, Rest, empty
from harness.rpcs import BY_NAME
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running
from tests.support.ports import LOOPBACK

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT.value[0]
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
MIB = 1 << 20
CREATE, LIST = BY_NAME["CreateTask"], BY_NAME["ListTasks"]


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


@pytest.mark.parametrize("name", ["task_id", "taskId"])
def test_an_id_in_the_body_never_overrides_the_id_in_the_path(rest: Rest, token: str, name: str) -> None:
    result = rest.send("PATCH", "/v1/tasks/mine", token, json={name: "yours", "title": "x"})

    assert is_malformed(result)
    assert name in result.message


@pytest.mark.parametrize("path", ["/v1/tasks/a%2Fb", "/v1/tasks/a%5Cb"])
def test_an_escaped_slash_is_refused(rest: Rest, token: str, path: str) -> None:
    result = rest.get(path, token)

    assert is_malformed(result)
    assert result.message == "The path or a header of the request is bad."


@pytest.mark.parametrize("name", ["my_key", "x_user_id", "my!key", "my~key", "my|key", "my'key"])
def test_a_header_with_a_name_that_no_metadata_has_is_refused_by_name(
    rest: Rest, web: GrpcWeb, upstream: Upstream, token: str, name: str
) -> None:
    before = len(upstream.calls(LIST))

    for client in (rest, web):
        result = client.call(LIST, empty(LIST), token, {name: "1"})
        assert result.code == INVALID_ARGUMENT
        assert result.message == f"The name of the header {name} may have letters, digits, hyphens and dots only."
    assert len(upstream.calls(LIST)) == before


def test_metadata_with_an_underscore_is_refused_by_name(rpc: Grpc, token: str) -> None:
    result = rpc.call(LIST, empty(LIST), token, {"my_key": "1"})

    assert result.code == INVALID_ARGUMENT
    assert result.message.startswith("The name of the header my_key may have")


@pytest.mark.parametrize("headers", [{"x-key": "x" * 15_000}, {f"x-{number}": "x" * 290 for number in range(50)}])
def test_headers_below_the_limit_pass(client: Client, token: str, headers: dict[str, str]) -> None:
    assert client.call(LIST, empty(LIST), token, headers).ok


def sent(gateway: Running, text: str) -> tuple[int, dict[str, Any]]:
    """Sends a request as it is written; returns the HTTP status and the JSON of the response."""
    with socket.create_connection((LOOPBACK, gateway.port), 5) as connection:
        connection.sendall(text.replace("\n", "\r\n").encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


def test_a_request_that_names_two_hosts_is_refused(gateway: Running, token: str) -> None:
    status, error = sent(gateway, f"GET /v1/tasks HTTP/1.1\nHost: a\nHost: b\nAuthorization: Bearer {token}\n\n")

    assert (status, error["message"]) == (400, "The request names more than one host.")


def test_an_unknown_transfer_coding_is_refused(gateway: Running) -> None:
    status, error = sent(gateway, "POST /v1/tasks HTTP/1.1\nHost: a\nTransfer-Encoding: gzip\n\n")

    assert (status, error["details"][0]["reason"]) == (400, "MALFORMED_REQUEST")
    assert "transfer-encoding" in error["message"]


def test_http_1_0_is_refused_with_what_to_use(gateway: Running) -> None:
    status, error = sent(gateway, "GET /v1/tasks HTTP/1.0\n\n")

    assert (status, error["details"][0]["reason"]) == (426, "UPGRADE_REQUIRED")
    assert error["message"] == "HTTP/1.0 is too old: send the request by HTTP/1.1 or HTTP/2."


@pytest.mark.parametrize("protocol", ["TLS/1.2", "h2c", "webs", "websockets", "foo, TLS/1.3"])
def test_an_upgrade_that_nobody_makes_is_ignored(rest: Rest, token: str, protocol: str) -> None:
    assert rest.get("/v1/tasks", token, headers={"connection": "Upgrade", "upgrade": protocol}).ok


def test_a_websocket_on_another_path_is_refused_as_what_it_is(rest: Rest, token: str) -> None:
    result = rest.get("/v1/tasks", token, headers={"connection": "Upgrade", "upgrade": "websocket"})

    assert is_malformed(result)
    assert result.message.startswith("Nothing can be upgraded here")


def test_a_rest_call_knows_no_deadline_of_grpc(rest: Rest, token: str) -> None:
    assert rest.get("/v1/tasks", token, headers={"grpc-timeout": "1n"}).ok


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


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
