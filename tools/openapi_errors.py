"""The error responses of the REST document: typed details, and per operation the reasons of its errors."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from contract.descriptors import GATEWAY_REASONS, SHARED_REASONS, Contract
from contract.methods import Method
from envoy.responses import DOMAIN, RESPONSES
from tools import error_catalogue

TYPE_URL = "type.googleapis.com/google.rpc."
Schema = dict[str, Any]

TITLES = {
    400: "The request is wrong, or the state does not allow it.",
    401: "The caller did not prove who they are.",
    403: "The caller may not do this.",
    404: "There is no such resource, or it is not the caller's.",
    409: "Another change came first, or the resource exists already.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many calls.",
    500: "Something went wrong inside.",
    503: "The service is not available right now.",
    504: "The call took longer than its deadline.",
}
# Responses to which an operation adds no reason, under their names in the document.
NAMES = {
    400: "InvalidRequest",
    401: "Unauthenticated",
    403: "PermissionDenied",
    413: "BodyTooLarge",
    415: "BodyNotJson",
    429: "TooManyCalls",
    500: "Internal",
    503: "Unavailable",
    504: "DeadlineExceeded",
}
_RETRY_AFTER = {"retry-after": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
REQUEST_ID = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
HEADERS = {
    401: {"www-authenticate": {"description": "The scheme: `Bearer`.", "schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
ALWAYS = ("INVALID_REQUEST", "OVERLOADED", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED")
WITH_TOKEN = ("TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_REVOKED")


def typed(name: str, description: str, required: Iterable[str], /, **properties: Schema) -> Schema:
    """A detail in JSON: a message of google.rpc with its type beside its fields."""
    return {
        "type": "object",
        "title": name,
        "description": description,
        "properties": {"@type": {"const": TYPE_URL + name}, **properties},
        "required": ["@type", *required],
    }


def text(description: str) -> Schema:
    """A string."""
    return {"type": "string", "description": description}


def items(**properties: Schema) -> Schema:
    """A list of objects."""
    return {"type": "array", "items": {"type": "object", "properties": properties}}


DETAILS = {
    "ErrorInfo": typed(
        "ErrorInfo",
        "Why, for machines. Comes with every error.",
        ("reason", "domain"),
        reason=text("Stable name of the reason, such as `TASK_NOT_FOUND`."),
        domain=text("Who gives the reason: a service, such as `todo.focusmesh`, or `focusmesh`."),
        metadata={
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Every variable of the message.",
        },
    ),
    "BadRequest": typed(
        "BadRequest",
        "Which fields break which rules.",
        ("fieldViolations",),
        fieldViolations=items(
            field=text("Path of the field."), description=text("What is wrong."), reason=text("The rule.")
        ),
    ),
    "PreconditionFailure": typed(
        "PreconditionFailure",
        "What would have to be different.",
        ("violations",),
        violations=items(type=text("Kind."), subject=text("Of what."), description=text("What is wrong.")),
    ),
    "RetryInfo": typed(
        "RetryInfo",
        "When to try again.",
        ("retryDelay",),
        retryDelay={"$ref": "#/components/schemas/google.protobuf.Duration"},
    ),
    "ResourceInfo": typed(
        "ResourceInfo",
        "Which resource it is about.",
        (),
        resourceType=text("Kind."),
        resourceName=text("Id."),
        owner=text("Owner."),
        description=text("What is wrong with it."),
    ),
}
OTHER_DETAIL: Schema = {
    "type": "object",
    "title": "Any",
    "description": "A detail of a type that is not in this document.",
    "properties": {"@type": {"type": "string", "not": {"enum": [TYPE_URL + name for name in DETAILS]}}},
    "required": ["@type"],
    "additionalProperties": True,
}
_SCHEMAS = {f"google.rpc.{name}": detail for name, detail in DETAILS.items()} | {"google.protobuf.Any": OTHER_DETAIL}
STATUS: Schema = {
    "type": "object",
    "title": "Status",
    "description": "Every error has this shape, whoever refused the call.",
    "properties": {
        "code": {"type": "integer", "format": "int32", "description": "Code of gRPC, such as 5 for NOT_FOUND."},
        "message": text("What went wrong, in English, for developers."),
        "details": {
            "type": "array",
            "description": "What went wrong, for machines. Types may be added: pass over those that you do not know.",
            "items": {
                "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in _SCHEMAS],
                "discriminator": {
                    "propertyName": "@type",
                    "mapping": {TYPE_URL + name: f"#/components/schemas/google.rpc.{name}" for name in DETAILS},
                },
            },
        },
    },
    "required": ["code", "message"],
}


def of_other_paths(contract: Contract) -> str:
    """What the gateway says where there is no operation, as a list for the beginning of the document."""
    meanings = contract.reasons[GATEWAY_REASONS]
    elsewhere = ("ROUTE_NOT_FOUND", "METHOD_NOT_ALLOWED", "UPGRADE_REQUIRED", "REQUEST_TIMEOUT", "HEADERS_TOO_LARGE")
    statuses = {response.reason: response.becomes or response.status for response in RESPONSES}
    return "\n".join(f"- {statuses[reason]} `{reason}`: {meanings[reason]}" for reason in elsewhere)


def schemas() -> dict[str, Schema]:
    """Named schemas that the error responses refer to."""
    return {"google.rpc.Status": STATUS, **_SCHEMAS}


def error(status: int, domains: Mapping[str, Mapping[str, str]]) -> Schema:
    """One error response; domains: reasons and their meaning by domain."""
    schema: Schema = {"$ref": "#/components/schemas/google.rpc.Status"}
    lines = [TITLES[status], ""]
    choices = []
    for domain, reasons in sorted(domains.items()):
        listed = sorted(reasons.items())
        lines += [
            f"- `{reason}` of {domain}: {meaning}" if meaning else f"- `{reason}` of {domain}."
            for reason, meaning in listed
        ]
        choices.append({"properties": {"domain": {"const": domain}, "reason": {"enum": sorted(reasons)}}})
    if choices:
        expected = {"allOf": [{"$ref": "#/components/schemas/google.rpc.ErrorInfo"}, {"anyOf": choices}]}
        schema = {"allOf": [schema, {"required": ["details"], "properties": {"details": {"contains": expected}}}]}
    response: Schema = {"description": "\n".join(lines).strip(), "content": {"application/json": {"schema": schema}}}
    return response | {"headers": REQUEST_ID | HEADERS.get(status, {})}


def reasons_of(rpc: Method) -> list[str]:
    """Every reason that a call of an RPC may be refused with: its own and those of the way to it."""
    found = [*ALWAYS, *(rpc.errors or ())]
    if rpc.access != "PUBLIC":
        found += WITH_TOKEN
    if rpc.access in ("USER", "ADMIN"):
        found.append("GUEST_NOT_ALLOWED")
    if rpc.scope:
        found.append("SCOPE_MISSING")
    return found


def gateway_reasons(status: int, rpc: Method) -> list[str]:
    """What the gateway itself may refuse a call of an RPC with, which has come to the right path."""
    if status == 404 or (rpc.access == "PUBLIC" and status in (401, 403)):
        return []
    return [response.reason for response in RESPONSES if (response.becomes or response.status) == status]


class Errors:
    """Error responses by RPC."""

    def __init__(self, contract: Contract, prose: Callable[[str], str]) -> None:
        """prose: makes a comment of the contract one of REST."""
        self.contract = contract
        self.prose = prose
        self.statuses = error_catalogue.statuses()
        self.shared: dict[str, Schema] = {}

    def meaning(self, rpc: Method, reason: str) -> str:
        """What the contract says about a reason."""
        own = self.contract.reasons.get(rpc.package, {})
        return own.get(reason) or self.contract.reasons[SHARED_REASONS].get(reason, "")

    def responses(self, rpc: Method) -> dict[str, Schema]:
        """The error responses of an operation, by HTTP status."""
        by_status: dict[int, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        for reason in reasons_of(rpc):
            domain = self.contract.domain(rpc, reason)
            for status in self.statuses.get((domain, reason), ()):
                if rpc.access == "PUBLIC" and status == 403:  # only a token can be meant for another audience
                    continue
                by_status[status][domain][reason] = self.meaning(rpc, reason)
        if rpc.body:
            by_status[413] = {}
        if rpc.body == "*":
            by_status[415] = {}
        for status, domains in by_status.items():
            if gateway := gateway_reasons(status, rpc):
                domains[DOMAIN] = {reason: self.contract.reasons[GATEWAY_REASONS][reason] for reason in gateway}
        return {str(status): self.response(rpc, status, domains) for status, domains in sorted(by_status.items())}

    def response(self, rpc: Method, status: int, domains: Mapping[str, Mapping[str, str]]) -> Schema:
        """One error response; those that every operation has are written once and referred to."""
        told = {
            domain: {reason: self.prose(meaning) for reason, meaning in reasons.items()}
            for domain, reasons in domains.items()
        }
        whole = error(status, told)
        own = any(reason in (rpc.errors or ()) for reasons in domains.values() for reason in reasons)
        if own or self.shared.setdefault(NAMES[status], whole) != whole:
            return whole
        return {"$ref": f"#/components/responses/{NAMES[status]}"}
