"""What browsers need: cross-origin calls and WebSockets."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from harness.clients import GrpcWeb, Rest
from harness.waiting import wait_until
from tests.gateway.gateways import ORIGIN
from tests.gateway.upstream import SUBPROTOCOL, Upstream
from tests.support.gateway_process import Running
from tests.support.tokens import Signer

OTHER_ORIGIN = "https://evil.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


def preflight(rest: Rest, path: str, origin: str) -> httpx.Response:
    return rest.http.options(path, headers={**PREFLIGHT, "origin": origin})


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks/some-id:start", "/focusmesh.todo.v1.TaskService/ListTasks"])
def test_a_preflight_of_an_allowed_origin_is_granted_without_a_token(rest: Rest, path: str) -> None:
    response = preflight(rest, path, ORIGIN)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "x-grpc-web", "grpc-timeout"} <= {
        name.strip() for name in response.headers["access-control-allow-headers"].split(",")
    }
    assert "access-control-allow-credentials" not in response.headers


def test_a_preflight_of_another_origin_is_not(rest: Rest) -> None:
    assert "access-control-allow-origin" not in preflight(rest, "/v1/tasks", OTHER_ORIGIN).headers


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/tasks", 200), ("/v1/tasks?nope=1", 400), ("/v1/nowhere", 404), ("/v1/tasks/", 404)]
)
def test_pages_of_an_allowed_origin_can_read_responses_and_errors(
    rest: Rest, token: str, path: str, status: int
) -> None:
    response = rest.http.get(path, headers={"origin": ORIGIN, "authorization": f"Bearer {token}"})

    assert (response.status_code, response.headers.get("access-control-allow-origin")) == (status, ORIGIN)
    assert "grpc-status" in response.headers["access-control-expose-headers"]


def test_pages_can_read_that_a_token_is_missing(rest: Rest) -> None:
    response = rest.http.get("/v1/tasks", headers={"origin": ORIGIN})

    assert (response.status_code, response.headers.get("access-control-allow-origin")) == (401, ORIGIN)


def test_pages_can_read_grpc_web(web: GrpcWeb, token: str) -> None:
    response = web.http.post(
        "/focusmesh.todo.v1.TaskService/ListTasks",
        content=b"\0\0\0\0\0",
        headers={"origin": ORIGIN, "authorization": f"Bearer {token}", "content-type": web.content_type},
    )

    assert (response.status_code, response.headers.get("access-control-allow-origin")) == (200, ORIGIN)


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks?nope=1", "/v1/nowhere", "/healthz"])
@pytest.mark.parametrize("headers", [{}, {"origin": ORIGIN}, {"origin": OTHER_ORIGIN}], ids=str)
def test_no_cache_gives_one_origin_what_was_answered_to_another(
    rest: Rest, token: str, path: str, headers: dict[str, str]
) -> None:
    signed_in = rest.http.get(path, headers={**headers, "authorization": f"Bearer {token}"})
    nobody = rest.http.get(path, headers=headers)
    asked = preflight(rest, path, headers.get("origin", ORIGIN))

    assert [response.headers["vary"] for response in (signed_in, nobody, asked)] == ["origin"] * 3


def test_pages_of_another_origin_read_nothing(rest: Rest, token: str) -> None:
    response = rest.http.get("/v1/tasks", headers={"origin": OTHER_ORIGIN, "authorization": f"Bearer {token}"})

    assert "access-control-allow-origin" not in response.headers


class TestWebSocket:
    @staticmethod
    def open(gateway: Running, query: str = "", **given: Any) -> ClientConnection:
        return connect(f"ws://{gateway.target}/v1/realtime{query}", **given)

    @pytest.fixture(params=["header", "subprotocol", "subprotocol first"])
    def connection(self, request: pytest.FixtureRequest, gateway: Running, token: str) -> Iterator[ClientConnection]:
        """A WebSocket, with the token given in either way."""
        given: dict[str, Any] = {
            "header": {"additional_headers": {"authorization": f"Bearer {token}"}, "subprotocols": [SUBPROTOCOL]},
            "subprotocol": {"subprotocols": [SUBPROTOCOL, f"bearer.{token}"]},
            "subprotocol first": {"subprotocols": [f"bearer.{token}", SUBPROTOCOL]},
        }[request.param]
        with self.open(gateway, **given) as connection:
            yield connection

    def test_frames_go_both_ways(self, connection: ClientConnection) -> None:
        for number in range(3):
            connection.send(json.dumps({"number": number}))
            assert json.loads(connection.recv(timeout=5)) == {"number": number}

    def test_only_the_protocol_is_agreed_on_and_not_the_token(self, connection: ClientConnection) -> None:
        assert connection.subprotocol == SUBPROTOCOL

    def test_more_than_the_largest_request_may_go_through_one_connection(self, connection: ClientConnection) -> None:
        for _ in range(24):
            connection.send("x" * 65536)
            assert len(connection.recv(timeout=5)) == 65536

    def test_the_service_gets_the_token_to_verify_it_itself(
        self, gateway: Running, upstream: Upstream, token: str
    ) -> None:
        with self.open(gateway, subprotocols=[SUBPROTOCOL, f"bearer.{token}"]) as connection:
            connection.send("x")
            assert connection.recv(timeout=5) == "x"  # it was noted before
            headers = {name.lower(): value for name, value in upstream.handshakes[-1].items()}

        assert f"bearer.{token}" in headers["sec-websocket-protocol"]

    @pytest.mark.parametrize("way", ["nowhere", "query", "expired", "foreign"])
    def test_without_a_good_token_nothing_opens(
        self, gateway: Running, signer: Signer, upstream: Upstream, token: str, way: str
    ) -> None:
        before = len(upstream.handshakes)
        given: dict[str, Any] = {
            "nowhere": {},
            "query": {"query": f"?access_token={token}"},
            "expired": {"subprotocols": [SUBPROTOCOL, f"bearer.{signer.token(exp=1)}"]},
            "foreign": {"subprotocols": [SUBPROTOCOL, f"bearer.{Signer().token()}"]},
        }[way]

        with pytest.raises(InvalidStatus) as refused:
            self.open(gateway, **given)

        assert refused.value.response.status_code == 401
        assert len(upstream.handshakes) == before

    def test_a_request_without_upgrade_gets_an_error_that_names_the_websocket(self, rest: Rest, token: str) -> None:
        result = rest.get("/v1/realtime", token)

        assert (result.http, result.reason) == (426, "UPGRADE_REQUIRED")

    def test_nothing_else_can_be_upgraded(self, gateway: Running, token: str) -> None:
        with pytest.raises(InvalidStatus):
            connect(f"ws://{gateway.target}/v1/tasks", additional_headers={"authorization": f"Bearer {token}"})

    def test_the_token_of_the_handshake_is_not_logged(self, gateway: Running, token: str) -> None:
        before = gateway.access_log().count("/v1/realtime")
        with self.open(gateway, subprotocols=[SUBPROTOCOL, f"bearer.{token}"]):
            pass
        wait_until(lambda: gateway.access_log().count("/v1/realtime") > before, "the handshake is logged")

        assert token not in gateway.access_log()
