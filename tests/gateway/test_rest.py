"""REST as callers and their libraries expect it: headers that have a meaning, and what is refused by name."""

import grpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.message import Message

from harness.clients import Client, Grpc, Rest, empty
from harness.rpcs import BY_NAME
from tests.gateway.upstream import Upstream

GET, UPDATE = BY_NAME["GetTask"], BY_NAME["UpdateTask"]


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
