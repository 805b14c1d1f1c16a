"""REST as callers and their libraries expect it: headers that have a meaning, and what is refused by name."""

import gzip

import grpc
import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from harness.clients import CallResult, Client, Grpc, GrpcWeb, Rest, empty
from harness.rpcs import BY_NAME
from tests.gateway.behaviours import refusing, returning
from tests.gateway.http2 import DATA, HEADERS, exchange
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running

GET, UPDATE, DELETE = BY_NAME["GetTask"], BY_NAME["UpdateTask"], BY_NAME["DeleteTask"]


def test_preconditions_and_keys_reach_the_service(client: Client, upstream: Upstream, token: str) -> None:
    sent = {"if-match": '"v7"', "idempotency-key": "some-key"}

    assert client.call(UPDATE, empty(UPDATE), token, sent).ok

    assert upstream.last(UPDATE).metadata.items() >= sent.items()


def test_a_service_knows_a_rest_request_and_no_other_caller_can_look_like_one(
    rest: Rest, rpc: Grpc, upstream: Upstream, token: str
) -> None:
    claimed = {"x-envoy-original-path": "/v1/tasks"}
    for client, path in ((rest, f"/v1/tasks/{empty(GET).task_id}"), (rpc, None)):  # type: ignore[attr-defined]
        assert client.call(GET, empty(GET), token, claimed).ok
        assert upstream.last(GET).metadata.get("x-envoy-original-path") == path


def test_the_etag_and_the_challenge_of_a_service_are_headers(rest: Rest, upstream: Upstream, token: str) -> None:
    async def respond(_: Message, context: grpc.aio.ServicerContext) -> Message:
        await context.send_initial_metadata((("etag", '"v7"'),))
        return pb.GetTaskResponse()

    async def refuse(_: Message, context: grpc.aio.ServicerContext) -> Message:
        challenge = (("www-authenticate", "Bearer"),)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "No.", trailing_metadata=challenge)
        raise AssertionError

    with upstream.behaving(GET, respond):
        assert rest.call(GET, empty(GET), token).headers["etag"] == '"v7"'
    with upstream.behaving(GET, refuse):
        refused = rest.call(GET, empty(GET), token)
    assert (refused.http, refused.headers["www-authenticate"]) == (401, "Bearer")


def named(result: CallResult) -> str:
    """The field that a refusal names."""
    assert (result.http, result.reason) == (400, "MALFORMED_REQUEST"), result
    [violation] = result.detail(error_details_pb2.BadRequest).field_violations
    return violation.field


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("nope", "nope"),
        ("nope=1", "nope"),
        ("nope=", "nope"),
        ("=1", '""'),
        ("showDeleted", "showDeleted"),
        ("show_deleted", "showDeleted"),
        ("pageSize=1&pageSize=2", "pageSize"),
        ("page_size=1&pageSize=1", "pageSize"),
        ("page%53ize=1", "page%53ize"),
        ("dueFrom.seconds=5", "dueFrom.seconds"),
    ],
)
def test_no_parameter_of_a_query_is_lost_in_silence(rest: Rest, token: str, query: str, field: str) -> None:
    assert named(rest.get(f"/v1/tasks?{query}", token)) == field


@pytest.mark.parametrize(
    "query", ["", "&", "pageToken=", "&pageSize=1&", "states=TASK_STATE_PENDING&states=TASK_STATE_COMPLETE"]
)
def test_a_query_that_loses_nothing_passes(rest: Rest, token: str, query: str) -> None:
    assert rest.get(f"/v1/tasks?{query}", token).ok


@pytest.mark.parametrize("name", ["taskId", "task_id"])
def test_a_parameter_never_overrides_the_path(rest: Rest, token: str, name: str) -> None:
    assert named(rest.get(f"/v1/tasks/mine?{name}=yours", token)) == name


def test_a_call_with_a_body_has_no_parameters(rest: Rest, token: str) -> None:
    assert named(rest.send("POST", "/v1/tasks?title=y", token, json={"title": "x"})) == "title"


@pytest.mark.parametrize("verb", ["GET", "DELETE", "HEAD"])
@pytest.mark.parametrize("content", [b'{"etag":"v1"}', [b'{"etag":', b'"v1"}']])
def test_a_body_is_refused_where_none_has_a_meaning(
    rest: Rest, upstream: Upstream, token: str, verb: str, content: bytes | list[bytes]
) -> None:
    before = len(upstream.calls(GET)) + len(upstream.calls(DELETE))
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    sent = iter(content) if isinstance(content, list) else content

    assert rest.http.request(verb, "/v1/tasks/mine", content=sent, headers=headers).status_code == 400
    assert len(upstream.calls(GET)) + len(upstream.calls(DELETE)) == before


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity", "x"])
def test_an_encoded_body_is_refused_with_what_is_accepted(rest: Rest, token: str, encoding: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    result = rest.send("POST", "/v1/tasks", token, content=gzip.compress(b'{"title":"x"}'), headers=headers)

    assert (result.http, result.reason) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert (result.headers["accept"], result.headers["accept-encoding"]) == ("application/json", "identity")
    assert "content-encoding" in result.message


def test_a_body_that_says_it_is_not_encoded_passes(rest: Rest, token: str) -> None:
    assert rest.send("POST", "/v1/tasks", token, json={"title": "x"}, headers={"content-encoding": "Identity"}).ok


def test_a_head_is_a_get_without_its_body(rest: Rest, upstream: Upstream, token: str) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    with upstream.behaving(GET, returning(pb.GetTaskResponse(task={"description": "x" * 100_000}))):
        head, get = (rest.http.request(verb, "/v1/tasks/mine", headers=bearer) for verb in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    for path, status in (("tasks/mine?nope=1", 400), ("nowhere", 404), ("sessions", 405)):
        assert rest.http.head(f"/v1/{path}", headers=bearer).status_code == status
    assert rest.http.head("/.well-known/jwks.json").status_code == 200


def test_a_head_by_http2_gets_no_body_either(gateway: Running) -> None:
    frames = exchange(gateway.port, {":method": "HEAD", ":path": "/.well-known/jwks.json"})

    assert {frame.kind for frame in frames} <= {HEADERS, DATA}
    assert b"".join(frame.content for frame in frames if frame.kind == DATA) == b""


@pytest.mark.parametrize(
    ("verb", "allowed"),
    [
        *((verb, "GET, HEAD, PATCH") for verb in ("PUT", "SEARCH", "ANY", "TRACE")),
        # Envoy refuses it before it looks at the path.
        ("QUERY", "DELETE, GET, HEAD, PATCH, POST"),
    ],
)
def test_a_method_that_is_unknown_is_named_as_one(rest: Rest, token: str, verb: str, allowed: str) -> None:
    result = rest.send(verb, "/v1/me", token)

    assert (result.http, result.reason) == (405, "METHOD_NOT_ALLOWED")
    assert result.headers["allow"] == allowed
    assert "method" in result.message


@pytest.mark.parametrize("text", [False, True])
def test_parameters_of_the_content_type_of_grpc_web_mean_nothing(
    gateway: Running, upstream: Upstream, token: str, text: bool
) -> None:
    web = GrpcWeb(gateway.url, text=text)
    web.content_type += "; charset=utf-8"
    with upstream.behaving(GET, returning(pb.GetTaskResponse(task={"title": "ä"}))):
        assert web.call(GET, empty(GET), token).response == pb.GetTaskResponse(task={"title": "ä"})
    with upstream.behaving(GET, refusing("NOT_FOUND", "No.")):
        assert web.call(GET, empty(GET), token).code == grpc.StatusCode.NOT_FOUND.value[0]
    web.close()
