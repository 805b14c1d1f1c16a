"""Headers of the REST document that mean a field: `If-Match` and `Idempotency-Key` of requests, `ETag` of responses."""

from typing import Any

from contract.descriptors import Contract
from contract.methods import Method
from tools.openapi_errors import REQUEST_ID

Node = dict[str, Any]
_KEY_FIELDS = {"etag": "IfMatch", "request_id": "IdempotencyKey"}
PARAMETERS: Node = {
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": (
            'The same as `etag`: the version that the call is based on, such as `"v7"`, or `*` for any. Another '
            "current version is refused with 409 VERSION_CONFLICT. Several etags, weak ones and one that differs from "
            "`etag` are refused with 400, and so is the header by calls without an `etag`."
        ),
        "schema": {"type": "string", "pattern": r'^(\*|"[!#-~]{1,64}"|[!#-+\--~]{1,64})$'},
        "example": '"v7"',
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "The same as `requestId`: a UUID that makes the call repeatable. A value that differs from `requestId` is "
            "refused with 400. Calls without a `requestId` ignore the header where repeating them changes nothing, and "
            "refuse it otherwise."
        ),
        "schema": {"type": "string", "pattern": '^"?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"?$'},
        "example": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    },
}
COMPONENTS: Node = {
    "RequestId": {
        "description": "Which call it was: say it when you ask for help. Logs and traces have it.",
        "schema": {"type": "string", "format": "uuid"},
    }
}
_ETAG: Node = {
    "description": "The `etag` of the resource in the response, in quotes: what `If-Match` takes.",
    "schema": {"type": "string"},
    "example": '"v7"',
}


def parameters(described: Contract, rpc: Method) -> list[Node]:
    """The headers that a request of an RPC may have."""
    fields = {field.name for field in described.messages[rpc.request].descriptor.field}
    return [{"$ref": f"#/components/parameters/{name}"} for field, name in _KEY_FIELDS.items() if field in fields]


def of_response(described: Contract, rpc: Method) -> Node:
    """The headers of a successful response, as a response object has them."""
    for field in described.messages[rpc.response].descriptor.field:
        resource = described.messages.get(field.type_name.lstrip("."))
        if resource is None or field.label == field.LABEL_REPEATED:
            continue
        if any(each.name == "etag" for each in resource.descriptor.field):
            return {"headers": {"ETag": _ETAG, **REQUEST_ID}}
    return {"headers": REQUEST_ID}
