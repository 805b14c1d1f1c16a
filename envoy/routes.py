"""Routes, derived from the contract. Evaluated in this order:

1. feeds of calendars, whatever is asked of them, so that no other route shows their token;
2. preflights, to which the CORS filter responds;
3. the WebSocket;
4. deadlines of gRPC that cannot be read: 400;
5. one exact path per RPC that may be called from outside, by gRPC or gRPC-Web;
6. any other gRPC path or verb: UNIMPLEMENTED, so that internal RPCs, health and reflection stay inside;
7. one per REST binding, with verb and content type: the transcoder turns it into a call and the router looks again;
8. a REST path with another verb: 405; then with another content type: 415;
9. anything else: 404.
"""

from collections import defaultdict
from typing import Any

from contract.descriptors import Contract
from contract.methods import Binding, Method
from contract.rules import ContractError, require_routable
from envoy import rest_requests

WEBSOCKET_PATH = "/v1/realtime"
WEBSOCKET_CLUSTER = "realtime_ws"
FEED_PATH = "/v1/calendar/feeds/"
"""What follows is a secret: `<token>.ics`."""
FEED_CLUSTER = "calendar_http"
STREAMS_PRIORITY = "HIGH"
"""Only Envoy's name for a second set of limits: open streams leave the calls theirs."""
NO_CLUSTER = "none"
"""Has no endpoints: a REST call is routed to it only until the transcoder has determined its RPC."""
UNKNOWN_CLUSTER = "unknown-path"
"""Does not exist: a route to it responds 404 and, unlike a direct response, carries CORS headers."""
KEY_METHOD = "/focusmesh.auth.v1.KeyService/GetJwks"

Json = dict[str, Any]

_TYPE = "type.googleapis.com"
_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_WEBSOCKET = "websocket"
OTHER_UPGRADES = "(?i)" + "|".join(
    [f"{_WEBSOCKET[:read]}([^{letter}].*)?" for read, letter in enumerate(_WEBSOCKET)] + [f"{_WEBSOCKET}.+"]
)
"""Matches every protocol that a connection can be upgraded to but the WebSocket; RE2 has no negation."""
_TE = {"header": {"key": "te", "value": "trailers"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
_DISABLED = {"@type": f"{_TYPE}/envoy.config.route.v3.FilterConfig", "disabled": True}
_NOT_TRANSCODED = {"envoy.filters.http.grpc_json_transcoder": _DISABLED}
_FEEDS = {"prefix": FEED_PATH, "case_sensitive": False}
_FEED_SECONDS, _FEED_IDLE_SECONDS = 120, 30
"""For a whole feed, and until its reader takes more of it or its service sends more."""
_FILE_SIZE = {"envoy.filters.http.body_size_limit": _DISABLED}
"""Up to `largest_file`."""
_ACCEPTED = {"accept": "application/json", "accept-encoding": "identity"}
"""What a body may be, for callers whose body is something else."""
_ROOM_BYTES = 16 << 20
_ANY_SIZE = {**_FILE_SIZE, "focusmesh.body_size_limit_of_files": _DISABLED}

SAFE_RETRIES: Json = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": f"{_TYPE}/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 5,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
}
REPEATABLE_RETRIES: Json = {**SAFE_RETRIES, "retry_on": "connect-failure,refused-stream,unavailable,reset"}


def routes(described: Contract, stream_idle_seconds: int) -> list[Json]:
    """Every route of the public listener; raises ContractError for a contract that cannot be routed safely."""
    require_routable(described)
    exposed = [method for method in described.rpcs if method.exposed]
    bound = [(method, method.binding) for method in exposed if method.binding]
    return [
        *_feeds(),
        _preflight(),
        _websocket(stream_idle_seconds),
        _websocket_without_upgrade(),
        _unreadable_deadline(),
        *(rpc_route(method, stream_idle_seconds) for method in exposed),
        _unknown_rpc(),
        *(_rest(method, binding) for method, binding in bound),
        *(_head(method, binding) for method, binding in bound if binding.verb == "GET"),
        *_other_verbs([binding for _, binding in bound]),
        *(_other_content_type(binding) for _, binding in bound if binding.has_body),
        _unknown_path(),
    ]


def key_routes(methods: list[Method]) -> list[Json]:
    """The routes of the one RPC that the gateway itself calls, for the keys of tokens: by REST and transcoded."""
    method = next((method for method in methods if method.grpc_path == KEY_METHOD), None)
    if method is None or method.binding is None:
        raise ContractError(f"{KEY_METHOD} must exist and have an HTTP binding")
    return [
        rpc_route(method, 0),
        {"match": {"path": method.binding.template}, "route": {"cluster": NO_CLUSTER}},
    ]


def transcoded(methods: list[Method]) -> list[str]:
    """Proto services with at least one REST binding."""
    return sorted({method.full_service for method in methods if method.exposed and method.binding})


def token_rules(methods: list[Method]) -> list[Json]:
    """Who needs a token: everybody, but for RPCs that are public. Tokens are read before transcoding, so a public RPC
    is named twice, by gRPC and by REST. A path that only public RPCs have needs none for its other verbs either: 405.
    """
    private = {method.binding.template for method in methods if method.binding and not method.public}
    rules: list[Json] = []
    for method in methods:
        if method.public:
            rules.append({"match": {"path": method.grpc_path}})
            if method.binding:
                only_public = method.binding.is_literal and method.binding.template not in private
                verbs = [] if only_public else [_verbs(_served(method.binding))]
                rules.append({"match": _match(method.binding, verbs)})
    websocket = {"requirements": [{"provider_name": "header"}, {"provider_name": "subprotocol"}]}
    rules.append({"match": {"path": WEBSOCKET_PATH}, "requires": {"requires_any": websocket}})
    rules.append({"match": _FEEDS})
    rules.append({"match": {"prefix": "/"}, "requires": {"provider_name": "header"}})
    return rules


def rpc_route(method: Method, stream_idle_seconds: int) -> Json:
    """The route of one RPC by its gRPC name; deadline, retries and cluster are defined only here."""
    limit = f"{method.deadline_seconds}s"
    action: Json = {
        "cluster": method.owner,
        # Off: `max_stream_duration` also sends services the deadline of REST calls.
        "timeout": "0s",
        "max_stream_duration": {"max_stream_duration": limit, "grpc_timeout_header_max": limit},
    }
    if method.repeatable:
        action["retry_policy"] = REPEATABLE_RETRIES
    if method.streaming:
        action["idle_timeout"] = f"{stream_idle_seconds}s"
        action["priority"] = STREAMS_PRIORITY
    return {
        "name": method.full_name,
        # gRPC resets a call that is not a POST, or whose headers do not accept trailers.
        "match": {"path": method.grpc_path, "headers": [_GRPC, _verb("POST")]},
        "request_headers_to_add": [_TE],
        "metadata": _rate(method.rate.lower()),
        "route": action,
        "typed_per_filter_config": _sizes(method),
    }


def largest_file(methods: list[Method], least: int) -> int:
    """Bytes of the largest request body of all RPCs: by REST bytes are base64."""
    return max(least, *(method.largest_request_kib * 1024 * 4 // 3 + 1024 for method in methods))


def _sizes(method: Method) -> Json:
    if method.client_streaming:
        return _ANY_SIZE
    return _FILE_SIZE if method.largest_request_kib else {}


def _feeds() -> list[Json]:
    """Files that programs of calendars read: the token in the path is all that they show."""
    common: Json = {
        "metadata": _rate("feed"),
        # Instead of the path.
        "tracing": {"custom_tags": [{"tag": "http.url", "literal": {"value": FEED_PATH}}]},
        "typed_per_filter_config": _NOT_TRANSCODED,
    }
    return [
        {
            "name": "feed",
            "match": {**_FEEDS, "headers": [_verbs({"GET", "HEAD"})]},
            # The listener sends a part at least every so many seconds.
            "route": {
                "cluster": FEED_CLUSTER,
                "timeout": f"{_FEED_SECONDS}s",
                "idle_timeout": f"{_FEED_IDLE_SECONDS}s",
                "retry_policy": REPEATABLE_RETRIES,
            },
            **common,
        },
        {
            "name": "other verb feed",
            "match": _FEEDS,
            "direct_response": {"status": 405},
            "response_headers_to_add": [{"header": {"key": "allow", "value": "GET, HEAD"}}],
            **common,
        },
    ]


def _preflight() -> Json:
    asks = [_verb("OPTIONS"), {"name": "access-control-request-method", "present_match": True}]
    return {"name": "preflight", "match": {"prefix": "/", "headers": asks}, **_nowhere()}


def _websocket(idle_seconds: int) -> Json:
    upgrade = {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}
    return {
        "name": "websocket",
        "match": {"path": WEBSOCKET_PATH, "headers": [_verb("GET"), upgrade]},
        "metadata": _rate("stream"),
        "route": {
            "cluster": WEBSOCKET_CLUSTER,
            "timeout": "0s",
            "idle_timeout": f"{idle_seconds}s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
        },
        "typed_per_filter_config": {**_NOT_TRANSCODED, **_ANY_SIZE},
    }


def _websocket_without_upgrade() -> Json:
    return {
        "name": "websocket without upgrade",
        "match": {"path": WEBSOCKET_PATH},
        "direct_response": {"status": 426},
        "response_headers_to_add": [{"header": {"key": "upgrade", "value": "websocket"}}],
        "typed_per_filter_config": _NOT_TRANSCODED,
    }


def _unreadable_deadline() -> Json:
    """For edge.lua, which refuses it: on the route of an RPC Envoy would write the route's deadline over it."""
    headers = [
        {"name": "grpc-timeout", "present_match": True},
        {"name": "grpc-timeout", "string_match": {"safe_regex": {"regex": "[0-9]{1,8}[HMSmun]"}}, "invert_match": True},
    ]
    return {
        "name": "unreadable deadline",
        "match": {"prefix": "/", "headers": headers},
        "direct_response": {"status": 400},
        "typed_per_filter_config": _NOT_TRANSCODED,
    }


def _unknown_rpc() -> Json:
    return {
        "name": "unknown-rpc",
        "match": {"prefix": "/", "headers": [_GRPC]},
        "direct_response": {"status": 404},
        "typed_per_filter_config": _NOT_TRANSCODED,
    }


def _rest(method: Method, binding: Binding) -> Json:
    headers = [_verb(binding.verb)]
    if binding.has_body:
        headers += [_json_or_none(), _not_encoded()]
    return {
        "name": f"{binding.verb} {binding.template}",
        "match": _match(binding, headers),
        "metadata": _rate(method.rate.lower()),
        "route": {"cluster": NO_CLUSTER},
        "typed_per_filter_config": {**_sizes(method), **rest_requests.per_route(method)},
        # For the whole body; filters before limit its size.
        "request_body_buffer_limit": _ROOM_BYTES,
    }


def _head(method: Method, binding: Binding) -> Json:
    """A GET whose body is not sent; behind the others, since it is rare."""
    route = _rest(method, binding)
    lua = {"@type": f"{_TYPE}/envoy.extensions.filters.http.lua.v3.LuaPerRoute", "filter_context": {}}
    return {
        **route,
        "name": f"HEAD {binding.template}",
        "match": _match(binding, [_verb("HEAD")]),
        "typed_per_filter_config": {**route["typed_per_filter_config"], "focusmesh.head": lua},
    }


def _other_verbs(bindings: list[Binding]) -> list[Json]:
    """405 for paths whose verbs are known; a test sees that no verb of another path is hidden."""
    verbs: defaultdict[str, set[str]] = defaultdict(set)
    example = {}
    for binding in bindings:
        verbs[binding.pattern] |= _served(binding)
        example[binding.pattern] = binding
    return [
        {
            "name": f"other verb {example[pattern].template}",
            "match": _match(example[pattern], [{**_verbs(allowed), "invert_match": True}]),
            "direct_response": {"status": 405},
            "response_headers_to_add": [
                {"header": {"key": "allow", "value": ", ".join(sorted(allowed))}, "append_action": "ADD_IF_ABSENT"}
            ],
            "typed_per_filter_config": _NOT_TRANSCODED,
        }
        for pattern, allowed in verbs.items()
    ]


def _other_content_type(binding: Binding) -> Json:
    return {
        "name": f"other content type {binding.verb} {binding.template}",
        "match": _match(binding, [_verb(binding.verb)]),
        "direct_response": {"status": 415},
        "response_headers_to_add": [{"header": {"key": key, "value": value}} for key, value in _ACCEPTED.items()],
        "typed_per_filter_config": _NOT_TRANSCODED,
    }


def _unknown_path() -> Json:
    return {"name": "unknown-path", "match": {"prefix": "/"}, **_nowhere()}


def _nowhere() -> Json:
    return {
        "route": {"cluster": UNKNOWN_CLUSTER, "cluster_not_found_response_code": "NOT_FOUND"},
        "typed_per_filter_config": _NOT_TRANSCODED,
    }


def _match(binding: Binding, headers: list[Json]) -> Json:
    path: Json = {"path": binding.template} if binding.is_literal else {"safe_regex": {"regex": binding.pattern}}
    return {**path, "headers": headers}


def _served(binding: Binding) -> set[str]:
    """The methods of a binding: a HEAD is a GET whose body is not sent."""
    return {"GET", "HEAD"} if binding.verb == "GET" else {binding.verb}


def _verb(verb: str) -> Json:
    return {"name": ":method", "string_match": {"exact": verb}}


def _verbs(verbs: set[str]) -> Json:
    return {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(sorted(verbs))}}}


def _json_or_none() -> Json:
    """JSON, or no content type at all: curl users and bodiless POSTs are welcome."""
    return {
        "name": "content-type",
        "string_match": {"safe_regex": {"regex": r"(?i)(application/json\s*(;.*)?)?"}},
        "treat_missing_header_as_empty": True,
    }


def _not_encoded() -> Json:
    """No content encoding, which nothing here decodes."""
    return {
        "name": "content-encoding",
        "string_match": {"safe_regex": {"regex": "(?i)(identity)?"}},
        "treat_missing_header_as_empty": True,
    }


def _rate(rate: str) -> Json:
    return {"filter_metadata": {"focusmesh": {"rate": rate}}}
