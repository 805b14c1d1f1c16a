"""Routes are what the contract says, in an order that lets no RPC out that must stay inside."""

import re
from typing import Any

import pytest
from focusmesh.policy.v1 import policy_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import MethodOptions

from contract import descriptors
from contract.rules import ContractError
from envoy import routes
from tests.unit.envoy.contracts import a_contract, rpc

IDLE = 60
REAL = descriptors.load()


def routes_of(*methods: Any) -> list[dict[str, Any]]:
    return routes.routes(a_contract(*methods), IDLE)


def route_of(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(route for route in found if route["name"] == name)


def first_match(found: list[dict[str, Any]], verb: str, path: str, **headers: str) -> str:
    """The name of the route that the gateway takes, matched as it matches."""
    received = {":method": verb, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return next(route["name"] for route in found if _fits(route["match"], path, received))


def _fits(match: dict[str, Any], path: str, received: dict[str, str]) -> bool:
    fits = (
        path == match["path"]
        if "path" in match
        else bool(re.fullmatch(match["safe_regex"]["regex"], path))
        if "safe_regex" in match
        else path.startswith(match["prefix"])
    )
    return fits and all(_header_fits(matcher, received) for matcher in match.get("headers", ()))


def _header_fits(matcher: dict[str, Any], received: dict[str, str]) -> bool:
    value = received.get(matcher["name"], "" if matcher.get("treat_missing_header_as_empty") else None)
    if "present_match" in matcher:
        return (value is not None) == matcher["present_match"]
    if value is None:
        return False
    text = matcher["string_match"]
    if "exact" in text:
        fits = value.lower() == text["exact"].lower() if text.get("ignore_case") else value == text["exact"]
    elif "prefix" in text:
        fits = value.startswith(text["prefix"])
    else:
        fits = bool(re.fullmatch(text["safe_regex"]["regex"], value))
    return fits != matcher.get("invert_match", False)


def test_an_rpc_has_one_exact_route_with_its_cluster_and_deadline() -> None:
    found = routes_of(rpc("Buy", deadline_seconds=9))

    route = route_of(found, "focusmesh.shop.v1.ShopService/Buy")
    assert route["match"]["path"] == "/focusmesh.shop.v1.ShopService/Buy"
    assert route["route"]["cluster"] == "shop"
    assert route["route"]["max_stream_duration"] == {"max_stream_duration": "9s", "grpc_timeout_header_max": "9s"}
    assert route["route"]["timeout"] == "0s"


def test_an_rpc_without_a_deadline_has_five_seconds_and_a_stream_has_no_limit() -> None:
    found = routes_of(rpc("Buy"), rpc("Watch", streaming=True, rate=policy_pb2.RATE_CLASS_STREAM))

    buy = route_of(found, "focusmesh.shop.v1.ShopService/Buy")["route"]
    watch = route_of(found, "focusmesh.shop.v1.ShopService/Watch")["route"]
    assert buy["max_stream_duration"]["max_stream_duration"] == "5s"
    assert watch["max_stream_duration"] == {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"}
    assert watch["idle_timeout"] == "60s"


@pytest.mark.parametrize(
    ("level", "retried"),
    [
        (MethodOptions.IDEMPOTENCY_UNKNOWN, False),
        (MethodOptions.IDEMPOTENT, False),
        (MethodOptions.NO_SIDE_EFFECTS, True),
    ],
)
def test_only_an_rpc_without_effects_is_retried_after_it_may_have_begun(level: Any, retried: bool) -> None:
    route = route_of(routes_of(rpc("Buy", idempotency=level)), "focusmesh.shop.v1.ShopService/Buy")

    assert ("retry_policy" in route["route"]) == retried


def test_an_internal_rpc_has_no_route() -> None:
    found = routes_of(rpc("Audit", access=policy_pb2.ACCESS_INTERNAL))

    path = "/focusmesh.shop.v1.ShopService/Audit"
    assert first_match(found, "POST", path, content_type="application/grpc") == "unknown-rpc"
    assert first_match(found, "POST", path, content_type="application/json") == "unknown-path"


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"])
def test_every_rpc_of_the_contract_is_found_by_its_grpc_name(content_type: str) -> None:
    found = routes.routes(REAL, IDLE)

    for method in REAL.rpcs:
        expected = method.full_name if method.exposed else "unknown-rpc"
        assert first_match(found, "POST", method.grpc_path, content_type=content_type) == expected


def test_every_binding_of_the_contract_is_found_by_its_path_whatever_other_paths_there_are() -> None:
    found = routes.routes(REAL, IDLE)

    for method in REAL.rpcs:
        if method.binding:
            path = re.sub(r"\{[^}]*\}", "0198c0de-0000-7000-8000-000000000000", method.binding.template)
            name = f"{method.binding.verb} {method.binding.template}"
            assert first_match(found, method.binding.verb, path, content_type="application/json") == name
            assert first_match(found, method.binding.verb, path) == name


def test_another_verb_is_405_before_another_content_type_is_415() -> None:
    found = routes_of(rpc("Buy", HttpRule(post="/v1/items/{item_id}:buy", body="*")))
    path = "/v1/items/x:buy"

    assert first_match(found, "PUT", path, content_type="text/plain") == "other verb /v1/items/{item_id}:buy"
    assert first_match(found, "POST", path, content_type="text/plain").startswith("other content type")
    assert first_match(found, "POST", "/v1/items/x:sell", content_type="application/json") == "unknown-path"


def test_a_path_that_several_rpcs_share_allows_all_their_verbs() -> None:
    found = routes_of(
        rpc("Get", HttpRule(get="/v1/items/{item_id}")),
        rpc("Delete", HttpRule(delete="/v1/items/{item_id}")),
    )

    refused = [route for route in found if route["name"].startswith("other verb /v1/items")]
    assert [route["response_headers_to_add"][0]["header"]["value"] for route in refused] == ["DELETE, GET, HEAD"]


def test_a_preflight_is_left_to_the_cors_filter() -> None:
    found = routes_of(rpc("Get", HttpRule(get="/v1/items")))

    assert first_match(found, "OPTIONS", "/v1/items", access_control_request_method="GET") == "preflight"
    assert first_match(found, "OPTIONS", "/v1/items") == "other verb /v1/items"


def test_a_websocket_needs_its_upgrade() -> None:
    found = routes_of()

    assert first_match(found, "GET", "/v1/realtime", upgrade="WebSocket") == "websocket"
    assert first_match(found, "GET", "/v1/realtime") == "websocket without upgrade"


def test_routes_of_the_same_rpc_count_in_the_same_allowance() -> None:
    http = HttpRule(post="/v1/items", body="*")
    found = routes_of(rpc("Buy", http, rate=policy_pb2.RATE_CLASS_WRITE))

    rates = [
        route["metadata"]["filter_metadata"]["focusmesh"]["rate"]
        for route in found
        if route["name"] in {"focusmesh.shop.v1.ShopService/Buy", "POST /v1/items"}
    ]
    assert rates == ["write", "write"]


def test_only_public_rpcs_go_without_a_token_by_both_their_names() -> None:
    public = rpc("Browse", HttpRule(get="/v1/items/{item_id}"), access=policy_pb2.ACCESS_PUBLIC)
    private = rpc("Buy", HttpRule(post="/v1/items/{item_id}:buy", body="*"))
    entry = rpc("Enter", HttpRule(post="/v1/entries", body="*"), access=policy_pb2.ACCESS_PUBLIC)
    shared = rpc("Look", HttpRule(get="/v1/prices"), access=policy_pb2.ACCESS_PUBLIC)
    kept = rpc("Price", HttpRule(post="/v1/prices", body="*"))
    rules = routes.token_rules(a_contract(public, private, entry, shared, kept).rpcs)

    def needs_token(verb: str, path: str) -> bool:
        return "requires" in next(rule for rule in rules if _fits(rule["match"], path, {":method": verb}))

    assert not needs_token("GET", "/v1/items/x")
    assert not needs_token("POST", "/focusmesh.shop.v1.ShopService/Browse")
    assert not needs_token("TRACE", "/v1/entries")
    assert needs_token("TRACE", "/v1/prices")
    assert needs_token("POST", "/v1/prices")
    assert needs_token("DELETE", "/v1/items/x")
    assert needs_token("POST", "/v1/items/x:buy")
    assert needs_token("POST", "/focusmesh.shop.v1.ShopService/Buy")
    assert needs_token("GET", "/anything/else")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (HttpRule(get="/v1/items/{id}"), HttpRule(get="/v1/items/{name}")),
        (HttpRule(get="/v1/items/{id}"), HttpRule(get="/v1/items/newest")),
        (HttpRule(post="/v1/{kind}/x:buy"), HttpRule(post="/v1/items/{id}:buy")),
    ],
)
def test_two_rpcs_that_one_request_could_mean_are_refused(one: HttpRule, other: HttpRule) -> None:
    with pytest.raises(ContractError, match=r"ShopService/One and .*ShopService/Two"):
        routes_of(rpc("One", one), rpc("Two", other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (HttpRule(get="/v1/items/{id}"), HttpRule(delete="/v1/items/{id}")),
        (HttpRule(post="/v1/items/{id}:buy"), HttpRule(post="/v1/items/{id}:sell")),
        (HttpRule(post="/v1/items/{id}"), HttpRule(post="/v1/items/{id}:sell")),
        (HttpRule(get="/v1/items"), HttpRule(get="/v1/items:count")),
        (HttpRule(get="/v1/items/{id}"), HttpRule(get="/v1/items/{id}/parts")),
    ],
)
def test_requests_that_differ_do_not_collide(one: HttpRule, other: HttpRule) -> None:
    assert routes_of(rpc("One", one), rpc("Two", other))


@pytest.mark.parametrize(
    "method",
    [
        rpc("Bare", access=policy_pb2.ACCESS_UNSPECIFIED),
        rpc("Uncounted", rate=policy_pb2.RATE_CLASS_UNSPECIFIED),
        rpc("Leaking", HttpRule(get="/v1/secrets"), access=policy_pb2.ACCESS_INTERNAL),
        rpc("Twice", HttpRule(get="/v1/a", additional_bindings=[HttpRule(get="/v1/b")])),
    ],
    ids=lambda method: method.name,
)
def test_an_rpc_that_cannot_be_served_safely_stops_the_gateway(method: Any) -> None:
    with pytest.raises(ContractError):
        routes_of(method)


def test_without_an_rpc_for_keys_there_is_no_gateway() -> None:
    with pytest.raises(ContractError, match="GetJwks"):
        routes.key_routes([method for method in REAL.rpcs if method.grpc_path != routes.KEY_METHOD])


def test_a_path_is_never_more_than_its_template() -> None:
    for method in REAL.rpcs:
        if method.binding and not method.binding.is_literal:
            pattern = re.compile(method.binding.pattern)
            path = re.sub(r"\{[^}]*\}", "some-id", method.binding.template)
            assert pattern.fullmatch(path)
            for unknown in (f"{path}/", f"{path}/x", f"/x{path}", path.replace("some-id", ""), f"{path}:x"):
                assert not pattern.fullmatch(unknown), unknown
