"""Errors that the gateway itself returns, in the form of the services' errors: `google.rpc.Status` with an ErrorInfo.

REST callers get JSON, gRPC callers the same in `grpc-status-details-bin`, beside `grpc-message`: without the ID of the
request, which is in a header, with the shortest delay for too many calls, since only the header `retry-after` has the
exact one, and nothing where the text is not known before. Where a text is given it replaces Envoy's
own: those of 502, 503 and 504 reveal internal addresses.
"""

import base64
from enum import Enum
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2  # noqa: F401 (details are found by their names)

from envoy.rest_requests import METADATA

DOMAIN = "gateway.focusmesh"
_TYPE = "type.googleapis.com"
Json = dict[str, Any]

_ENVOYS_TEXT = "%LOCAL_REPLY_BODY%"
_NO_PATH_TEXT = "There is no such path, or no such verb behind the colon."
_UNAVAILABLE_TEXT = "The service is not available right now. Try again in a moment."
# gRPC callers send neither JSON nor a path.
_GRPC_TEXTS = {_ENVOYS_TEXT: "The request is malformed.", _NO_PATH_TEXT: "There is no such RPC."}


class When(Enum):
    """A condition beside the HTTP status that Envoy chose."""

    ALWAYS = "always"
    ANONYMOUS = "nobody says who calls"
    NO_KEYS = "no keys to verify a token with"
    EARLY = "before the request was read"
    EDGE = "edge.lua says why"
    FIELD = "rest_requests.lua says which field is wrong"
    AUDIENCE = "a token for somebody else"
    QUERY = "the method QUERY, of which Envoy refuses what has no content type"


class Response(NamedTuple):
    """The response that replaces an HTTP status that Envoy chose."""

    status: int
    code: str
    """Name of the `google.rpc.Code`."""
    reason: str
    text: str = _ENVOYS_TEXT
    when: When = When.ALWAYS
    becomes: int = 0
    """The HTTP status to respond instead; 0 for the same."""

    @property
    def number(self) -> int:
        """The code as a number."""
        return code_pb2.Code.Value(self.code)


RESPONSES = (
    Response(400, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "No path has the method QUERY.", When.QUERY, becomes=405),
    Response(400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", "The path or a header of the request is bad.", When.EARLY),
    Response(400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", "%DYNAMIC_METADATA(focusmesh.edge:refusal)%", When.EDGE),
    Response(400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", when=When.FIELD),
    Response(400, "INVALID_ARGUMENT", "MALFORMED_REQUEST"),
    # Without keys no token can be verified, so a valid one must not be refused as invalid.
    Response(401, "UNAVAILABLE", "UNAVAILABLE", _UNAVAILABLE_TEXT, When.NO_KEYS, becomes=503),
    Response(
        401,
        "UNAUTHENTICATED",
        "TOKEN_MISSING",
        "This call needs an access token: send it as `authorization: Bearer TOKEN`.",
        When.ANONYMOUS,
    ),
    Response(
        401,
        "UNAUTHENTICATED",
        "TOKEN_INVALID",
        "The access token is not valid, or has expired. Get a new one with Refresh or Login.",
    ),
    Response(403, "PERMISSION_DENIED", "TOKEN_INVALID", "The access token is meant for another API.", When.AUDIENCE),
    Response(
        403,
        "INVALID_ARGUMENT",
        "MALFORMED_REQUEST",
        "Nothing can be upgraded here: leave the header `upgrade` out. The WebSocket is GET /v1/realtime.",
        becomes=400,
    ),
    Response(404, "NOT_FOUND", "ROUTE_NOT_FOUND", _NO_PATH_TEXT),
    Response(405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "This path has other methods; the header `allow` names them."),
    Response(408, "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", "The request took too long to arrive.", When.EARLY),
    Response(408, "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", "The request took too long to arrive."),
    Response(413, "RESOURCE_EXHAUSTED", "BODY_TOO_LARGE", "The body of the request is too large."),
    Response(
        415,
        "INVALID_ARGUMENT",
        "UNSUPPORTED_MEDIA_TYPE",
        "Send the body as `content-type: application/json`, without a `content-encoding`.",
    ),
    Response(
        426,
        "FAILED_PRECONDITION",
        "UPGRADE_REQUIRED",
        "HTTP/1.0 is too old: send the request by HTTP/1.1 or HTTP/2.",
        When.EARLY,
    ),
    Response(426, "FAILED_PRECONDITION", "UPGRADE_REQUIRED", "This path is a WebSocket: send `upgrade: websocket`."),
    Response(429, "RESOURCE_EXHAUSTED", "RATE_LIMITED", "Too many calls. Try again after the time in `retry-after`."),
    Response(431, "RESOURCE_EXHAUSTED", "HEADERS_TOO_LARGE", "The headers of the request are too large.", When.EARLY),
    Response(500, "INTERNAL", "INTERNAL", "Something went wrong."),
    Response(
        501,
        "UNIMPLEMENTED",
        "MALFORMED_REQUEST",
        "The header transfer-encoding names a coding that is not understood.",
        When.EARLY,
        becomes=400,
    ),
    Response(502, "UNAVAILABLE", "UNAVAILABLE", _UNAVAILABLE_TEXT, becomes=503),
    Response(503, "UNAVAILABLE", "UNAVAILABLE", _UNAVAILABLE_TEXT),
    Response(504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "The call took longer than its deadline."),
)
"""In order of evaluation."""


def mappers() -> list[Json]:
    """Envoy's local reply mappers; the first whose filter matches applies."""
    return [mapper for response in RESPONSES for mapper in (_for_grpc(response), _for_rest(response))]


def _for_grpc(response: Response) -> Json:
    # A path that is known only to other paths and verbs is, by gRPC, an RPC that nobody implements.
    number = code_pb2.UNIMPLEMENTED if response.status == 404 else response.number
    text = _GRPC_TEXTS.get(response.text, response.text)
    headers = [_header("grpc-status", str(number)), _header("grpc-message", text)]
    if "%" not in text:
        headers.append(_header("grpc-status-details-bin", _status_in_base64(response, number, text)))
    return {
        "filter": _all(_status_is(response.status), *_CONDITIONS[response.when], *_is_grpc()),
        "headers_to_add": [*headers, *_retry_after(response)],
        # With a body, gRPC-Web would get a status made of the HTTP status, which knows too few.
        "body_format_override": {"text_format_source": {"inline_string": ""}},
    }


def _for_rest(response: Response) -> Json:
    return {
        "filter": _all(_status_is(response.status), *_CONDITIONS[response.when]),
        **({"status_code": response.becomes} if response.becomes else {}),
        "headers_to_add": [*_retry_after(response), *_allow(response)],
        "body_format_override": {"content_type": "application/json", "json_format": _status(response)},
    }


def _status(response: Response) -> Json:
    details = _details(response, "%RESP(RETRY-AFTER)%s")
    if response.when not in (When.EARLY, When.QUERY):
        details[0]["metadata"] = {"x-request-id": "%REQ(X-REQUEST-ID)%"}
    if response.when is When.FIELD:
        wrong = {name: f"%DYNAMIC_METADATA({METADATA}:{name})%" for name in ("field", "description")}
        wrong["reason"] = response.reason
        details.append({"@type": f"{_TYPE}/google.rpc.BadRequest", "fieldViolations": [wrong]})
    return {"code": response.number, "message": response.text, "details": details}


def _status_in_base64(response: Response, number: int, text: str) -> str:
    """As gRPC has it; callers compare code and text with those of the other two headers."""
    status = status_pb2.Status(code=number, message=text)
    json_format.ParseDict({"details": _details(response, "1s")}, status)
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")


def _details(response: Response, until_allowed: str) -> list[Json]:
    """until_allowed: the delay of who made too many calls, which Envoy knows at run time only."""
    found: list[Json] = [{"@type": f"{_TYPE}/google.rpc.ErrorInfo", "reason": response.reason, "domain": DOMAIN}]
    delays = {"UNAVAILABLE": "1s", "RATE_LIMITED": until_allowed}
    if delay := delays.get(response.reason):
        found.append({"@type": f"{_TYPE}/google.rpc.RetryInfo", "retryDelay": delay})
    return found


def _retry_after(response: Response) -> list[Json]:
    return [_header("retry-after", "1")] if response.code == "UNAVAILABLE" else []


def _allow(response: Response) -> list[Json]:
    """For a path that is not known yet: what any path may have. Routes name those of theirs."""
    return [_header("allow", "DELETE, GET, HEAD, PATCH, POST")] if response.when is When.QUERY else []


def _header(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _all(*filters: Json) -> Json:
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": list(filters)}}


def _status_is(status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"gateway.status_{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _is_grpc() -> list[Json]:
    """Native gRPC or gRPC-Web: after transcoding a REST request has this content type too, and its first path."""
    return [
        _with("content-type", {"prefix": "application/grpc"}),
        _without("x-envoy-original-path"),
    ]


def _with(header: str, value: Json) -> Json:
    return {"header_filter": {"header": {"name": header, "string_match": value}}}


def _without(header: str) -> Json:
    return {"header_filter": {"header": {"name": header, "present_match": True, "invert_match": True}}}


def _token_failure_is(message: str) -> Json:
    return _metadata("envoy.filters.http.jwt_authn", ["failure", "message"], {"string_match": {"exact": message}})


def _metadata(name: str, path: list[str], value: Json) -> Json:
    matcher = {"filter": name, "path": [{"key": key} for key in path], "value": value}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


_CONDITIONS: dict[When, list[Json]] = {
    When.ALWAYS: [],
    When.ANONYMOUS: [_without("authorization"), _without("sec-websocket-protocol")],
    When.NO_KEYS: [_token_failure_is("Jwks remote fetch is failed")],
    # A request has no ID until its headers are accepted.
    When.EDGE: [_metadata("focusmesh.edge", ["refusal"], {"present_match": True})],
    When.FIELD: [_metadata(METADATA, ["field"], {"present_match": True})],
    When.EARLY: [_without("x-request-id")],
    When.QUERY: [
        _without("x-request-id"),
        {"header_filter": {"header": {"name": ":method", "string_match": {"exact": "QUERY"}}}},
    ],
    When.AUDIENCE: [_token_failure_is("Audiences in Jwt are not allowed")],
}
