"""Which tokens the gateway accepts."""

import time
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from harness.clients import Client, Grpc, GrpcWeb, Rest, empty
from harness.rpcs import BY_NAME
from harness.waiting import wait_until
from tests.gateway.gateways import UNLIMITED, await_keys, endpoints, published
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running, running
from tests.support.ports import free_ports
from tests.support.tokens import Signer, claims, symmetric, unsigned

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED.value[0]
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED.value[0]
LIST = BY_NAME["ListTasks"]

BAD = {
    "expired": lambda signer: signer.token(iat=int(time.time()) - 700, exp=int(time.time()) - 100),
    "never expires": lambda signer: signer.token(exp=None),
    "foreign issuer": lambda signer: signer.token(iss="https://auth.example"),
    "foreign key": lambda signer: Signer(signer.kid).token(),
    "unknown key": lambda _: Signer("another-key").token(),
    "alg none": lambda signer: unsigned(claims(), signer.kid),
    "HS256 with the public key": lambda signer: symmetric(claims(), signer.kid, signer.public_bytes),
    "cut short": lambda signer: signer.token()[:-10],
    "no token at all": lambda _: "opaque",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused(client: Client, upstream: Upstream, signer: Signer, kind: str) -> None:
    before = len(upstream.calls(LIST))

    result = client.call(LIST, empty(LIST), BAD[kind](signer))

    assert result.code == UNAUTHENTICATED
    assert result.message.startswith("The access token is not valid, or has expired.")
    assert (result.reason, result.domain) == ("TOKEN_INVALID", "gateway.focusmesh")
    assert len(upstream.calls(LIST)) == before


def test_a_missing_token_is_asked_for(client: Client) -> None:
    result = client.call(LIST, empty(LIST))

    assert result.code == UNAUTHENTICATED
    assert result.message.startswith("This call needs an access token")
    assert (result.reason, result.domain) == ("TOKEN_MISSING", "gateway.focusmesh")


def test_a_token_for_another_api_is_forbidden(client: Client, signer: Signer) -> None:
    result = client.call(LIST, empty(LIST), signer.token(aud="other"))

    assert (result.code, result.message) == (PERMISSION_DENIED, "The access token is meant for another API.")


def test_rest_gets_a_www_authenticate_header(rest: Rest, signer: Signer) -> None:
    missing = rest.get("/v1/tasks")
    expired = rest.get("/v1/tasks", BAD["expired"](signer))
    foreign = rest.get("/v1/tasks", signer.token(aud="other"))

    assert (missing.http, missing.reason) == (401, "TOKEN_MISSING")
    assert (expired.http, expired.reason) == (401, "TOKEN_INVALID")
    assert (foreign.http, foreign.reason) == (403, "TOKEN_INVALID")
    assert missing.headers["www-authenticate"].startswith("Bearer ")
    assert 'error="invalid_token"' in expired.headers["www-authenticate"]


def test_a_token_in_the_query_is_no_token(rest: Rest, token: str) -> None:
    assert rest.get(f"/v1/tasks?access_token={token}").reason == "TOKEN_MISSING"


def test_services_get_the_token_to_verify_it_themselves(client: Client, upstream: Upstream, token: str) -> None:
    client.call(LIST, empty(LIST), token)

    assert upstream.last(LIST).metadata["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "bEaReR ", "Bearer   "])
def test_the_scheme_may_be_written_in_any_case_with_any_blanks(
    client: Client, upstream: Upstream, token: str, scheme: str
) -> None:
    assert client.call(LIST, empty(LIST), headers={"authorization": scheme + token}).ok
    assert upstream.last(LIST).metadata["authorization"] == f"Bearer {token}"


SPOOFED = {
    "x-user-id": "someone-else",
    "x-user": "someone-else",
    "x-auth-request-user": "someone-else",
    "x-jwt-payload": "e30=",
    "x-focusmesh-user": "someone-else",
    "x-roles": "admin",
    "x-scope": "everything",
    "x-tenant-id": "1",
    "x-identity": "someone-else",
    "x-forwarded-user": "someone-else",
    "x-remote-user": "someone-else",
    "x-forwarded-client-cert": "By=spiffe://focusmesh/todo",
    "x-envoy-external-address": "203.0.113.9",
    "x-envoy-internal": "true",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-retry-on": "5xx",
    "cookie": "session=stolen",
}


def test_headers_that_claim_an_identity_do_not_reach_services(client: Client, upstream: Upstream, token: str) -> None:
    client.call(LIST, empty(LIST), token, SPOOFED)

    metadata = upstream.last(LIST).metadata
    assert {name for name, value in SPOOFED.items() if metadata.get(name) == value} == set()
    assert metadata["x-envoy-external-address"] == "127.0.0.1"


def test_they_do_not_reach_public_rpcs_either(rest: Rest, upstream: Upstream) -> None:
    login = BY_NAME["Login"]
    rest.call(login, empty(login), headers=SPOOFED)

    metadata = upstream.last(login).metadata
    assert {name for name, value in SPOOFED.items() if metadata.get(name) == value} == set()


def test_a_made_up_forwarded_address_is_ignored(rest: Rest, upstream: Upstream, token: str) -> None:
    rest.get("/v1/tasks", token, headers={"x-forwarded-for": "203.0.113.9"})

    assert upstream.last(LIST).metadata["x-envoy-external-address"] == "127.0.0.1"


def test_tokens_are_not_logged(gateway: Running, rest: Rest, token: str) -> None:
    result = rest.get("/v1/tasks", token)

    wait_until(lambda: result.headers["x-request-id"] in gateway.access_log(), "the call is logged")
    assert token not in gateway.access_log()


class TestKeys:
    """Rotation of keys, with a gateway that asks for them every second."""

    def test_keys_rotate_without_a_failed_call(self, folder: Path) -> None:
        old, new = Signer("old"), Signer("new")
        upstream = Upstream(*free_ports(2), published(old))
        upstream.start()
        with running(_gateway(folder / "rotation", upstream, upstream)) as gateway:
            rest = Rest(gateway.url)
            await_keys(gateway, old)
            assert rest.get("/v1/tasks", new.token()).http == 401

            upstream.keys = published(new, old)
            await_keys(gateway, new)
            assert rest.get("/v1/tasks", old.token()).ok

            upstream.keys = published(new)
            wait_until(lambda: rest.get("/v1/tasks", old.token()).http == 401, "the removed key is forgotten")
            assert rest.get("/v1/tasks", new.token()).ok
            rest.close()
        upstream.close()

    def test_tokens_are_still_accepted_while_auth_is_away(self, folder: Path, signer: Signer) -> None:
        auth, others = (Upstream(*free_ports(2), published(signer)) for _ in range(2))
        auth.start()
        others.start()
        with running(_gateway(folder / "away", auth, others)) as gateway:
            rest = Rest(gateway.url)
            await_keys(gateway, signer)
            auth.stop()
            wait_until(lambda: _failed_fetches(gateway) >= 3, "fetching keys fails")
            assert rest.get("/v1/tasks", signer.token()).ok
            rest.close()
        auth.close()
        others.close()

    def test_before_there_are_keys_callers_get_unavailable_and_no_token_is_called_bad(
        self, folder: Path, signer: Signer
    ) -> None:
        upstream = Upstream(*free_ports(2), published(signer))
        with running(_gateway(folder / "early", upstream, upstream)) as gateway:
            rest, rpc, web = Rest(gateway.url), Grpc(gateway.target), GrpcWeb(gateway.url)
            early = rest.get("/v1/tasks", signer.token())
            assert (early.http, early.reason, early.headers["retry-after"]) == (503, "UNAVAILABLE", "1")
            assert early.detail(error_details_pb2.RetryInfo).retry_delay.seconds == 1
            for client in (rpc, web):
                refused = client.call(LIST, empty(LIST), signer.token())
                assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE.value[0], "UNAVAILABLE")
                assert refused.detail(error_details_pb2.RetryInfo).retry_delay.seconds == 1

            upstream.start()
            await_keys(gateway, signer)
            for client in (rest, rpc, web):
                client.close()
        upstream.close()


def _gateway(folder: Path, auth: Upstream, others: Upstream) -> Running:
    folder.mkdir()
    addresses = {**endpoints(others), "auth": endpoints(auth)["auth"]}
    return Running(folder, addresses, allowances=UNLIMITED, key_cache_seconds=1)


def _failed_fetches(gateway: Running) -> float:
    return gateway.figure("envoy_http_jwt_authn_jwks_fetch_failed")
