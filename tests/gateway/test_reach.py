"""What can be reached from outside, and what cannot."""

from dataclasses import replace

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contract.methods import Method
from harness.clients import Client, Grpc, GrpcWeb, Rest, empty
from harness.rpcs import BY_NAME, EXPOSED
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running

NOT_FOUND, UNIMPLEMENTED = grpc.StatusCode.NOT_FOUND.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]
WAYS = {"rest": Rest, "grpc-web": GrpcWeb}


def reaches(client: Client, method: Method, token: str, upstream: Upstream) -> bool:
    before = len(upstream.calls(method))
    result = client.call(method, empty(method), token)
    assert result.ok, result
    return len(upstream.calls(method)) == before + 1


@pytest.mark.parametrize("method", EXPOSED, ids=lambda method: method.name)
def test_every_rpc_is_reached_by_grpc(rpc: Grpc, upstream: Upstream, method: Method, token: str) -> None:
    assert reaches(rpc, method, token, upstream)


@pytest.mark.parametrize("method", EXPOSED, ids=lambda method: method.name)
def test_every_rpc_is_reached_by_grpc_web(web: GrpcWeb, upstream: Upstream, method: Method, token: str) -> None:
    assert reaches(web, method, token, upstream)


@pytest.mark.parametrize("method", [method for method in EXPOSED if method.binding], ids=lambda method: method.name)
def test_every_rpc_with_a_binding_is_reached_by_rest(
    rest: Rest, upstream: Upstream, method: Method, token: str
) -> None:
    assert reaches(rest, method, token, upstream)


@pytest.mark.parametrize("method", [method for method in EXPOSED if method.public], ids=lambda method: method.name)
def test_a_public_rpc_needs_no_token(client: Client, method: Method) -> None:
    assert client.call(method, empty(method)).ok


@pytest.mark.parametrize("path", ["grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "no.Such/Rpc"])
def test_rpcs_outside_the_contract_are_unimplemented(rpc: Grpc, web: GrpcWeb, token: str, path: str) -> None:
    package, _, service = path.split("/", maxsplit=1)[0].rpartition(".")
    name = path.split("/")[1]
    unknown = replace(BY_NAME["ListTasks"], package=package, service=service, name=name)
    stub = rpc.channel.unary_unary(unknown.grpc_path)
    with pytest.raises(grpc.RpcError) as refused:
        stub(b"", metadata=(("authorization", f"Bearer {token}"),))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "There is no such RPC."
    assert web.http.post(
        unknown.grpc_path, headers={"content-type": web.content_type, "authorization": f"Bearer {token}"}
    ).headers["grpc-status"] == str(UNIMPLEMENTED)


def test_the_health_of_services_is_not_reachable(rpc: Grpc, token: str) -> None:
    stub = health_pb2_grpc.HealthStub(rpc.channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(health_pb2.HealthCheckRequest(), metadata=(("authorization", f"Bearer {token}"),))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "path", ["/v2/tasks", "/v1/task", "/v1/tasks/", "/v1/tasks/a/b", "/", "/v1/tasks/a:nosuchverb"]
)
def test_an_unknown_path_is_not_found(rest: Rest, token: str, path: str) -> None:
    result = rest.get(path, token)

    assert (result.http, result.code, result.reason) == (404, NOT_FOUND, "ROUTE_NOT_FOUND")


def test_json_sent_to_the_grpc_name_of_an_rpc_is_not_found(rest: Rest, token: str) -> None:
    result = rest.send("POST", "/focusmesh.todo.v1.TaskService/ListTasks", token, json={})

    assert (result.http, result.reason) == (404, "ROUTE_NOT_FOUND")


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("PUT", "/v1/tasks/some-id", "DELETE, GET, HEAD, PATCH"),
        ("POST", "/v1/tasks/some-id", "DELETE, GET, HEAD, PATCH"),
        ("OPTIONS", "/v1/tasks", "GET, HEAD, POST"),
        ("GET", "/v1/tasks/some-id:start", "POST"),
        ("DELETE", "/v1/tasks:batchCreate", "POST"),
        ("POST", "/v1/auditRecords:verify", "GET, HEAD"),
        ("POST", "/.well-known/jwks.json", "GET, HEAD"),
    ],
)
def test_a_known_path_with_another_method_says_which_it_has(
    rest: Rest, token: str, verb: str, path: str, allowed: str
) -> None:
    response = rest.http.request(verb, path, headers={"authorization": f"Bearer {token}"})

    assert (response.status_code, response.headers["allow"]) == (405, allowed)


def test_another_method_is_noticed_before_another_content_type(rest: Rest, token: str) -> None:
    result = rest.send("PUT", "/v1/tasks/some-id", token, data={"title": "x"})

    assert (result.http, result.reason) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_json_is_an_unsupported_media_type(rest: Rest, token: str, content_type: str) -> None:
    result = rest.send("POST", "/v1/tasks", token, content="title=x", headers={"content-type": content_type})

    assert (result.http, result.reason) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", None])
def test_json_may_be_labelled_in_any_usual_way(rest: Rest, token: str, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = rest.http.post(
        "/v1/tasks", content='{"title":"x"}', headers={"authorization": f"Bearer {token}", **headers}
    )

    assert response.status_code == 200


def test_the_administration_is_not_behind_the_metrics_listener(gateway: Running) -> None:
    url = f"http://127.0.0.1:{gateway.metrics_port}"

    assert httpx.get(f"{url}/ready").text == "LIVE\n"
    assert "envoy_http_downstream_rq_total" in httpx.get(f"{url}/stats/prometheus").text
    assert {httpx.post(f"{url}/{path}").status_code for path in ("quitquitquit", "logging", "config_dump")} == {404}
    assert gateway.admin_socket.stat().st_mode & 0o777 == 0o600


def test_the_keys_listener_serves_nothing_but_keys(gateway: Running) -> None:
    url = f"http://127.0.0.1:{gateway.settings.keys[1]}"

    assert httpx.get(f"{url}/.well-known/jwks.json").json()["keys"]
    assert httpx.get(f"{url}/v1/tasks").status_code == 404
    assert httpx.post(f"{url}/v1/users", json={}).status_code == 404
