"""What REST requests may hold, as the contract says: the tables of `rest_requests.lua`, and its settings."""

from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from contract.descriptors import Contract, field_rules
from contract.methods import Method
from contract.rules import VARIABLE, ContractError

FILTER = "focusmesh.rest_requests"
METADATA = "focusmesh.rest_requests"
"""Where the filter says which field is wrong, and how."""
SCRIPT = Path(__file__).with_name("rest_requests.lua")
Json = dict[str, Any]
_Fields = dict[str, Json]
_PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute"
_KINDS = {
    FieldDescriptorProto.TYPE_STRING: "text",
    FieldDescriptorProto.TYPE_BYTES: "text",
    FieldDescriptorProto.TYPE_ENUM: "text",
    FieldDescriptorProto.TYPE_BOOL: "truth",
    FieldDescriptorProto.TYPE_INT32: "number",
    FieldDescriptorProto.TYPE_DOUBLE: "number",
    FieldDescriptorProto.TYPE_MESSAGE: "message",
}
_LONGEST = 2
"""Of a list, times its `max_items`: what is a little too long is for the service to refuse."""
_TEXTS = {".google.protobuf.Timestamp", ".google.protobuf.Duration", ".google.protobuf.FieldMask"}
"""Messages that are texts in JSON."""


def script(described: Contract) -> str:
    """The program of the filter, with its tables.

    Raises ContractError for a field whose type JSON writes in a way that the filter does not know, such as a map.
    """
    bound = [method for method in described.rpcs if method.exposed and method.binding]
    queries = {_binding(method): _query(described, method) for method in bound}
    bodies = {_binding(method): _body(described, method) for method in bound if method.body == "*"}
    others = {_binding(method): True for method in bound if method.body not in ("", "*")}
    messages: dict[str, _Fields] = {}
    fresh = _named_by(bodies.values())
    while fresh:
        messages |= {name: _fields(described, name) for name in sorted(fresh)}  # a changed text restarts the gateway
        fresh = _named_by(messages.values()) - messages.keys()
    tables = {"QUERIES": queries, "BODIES": bodies, "OTHER_BODIES": others, "MESSAGES": messages}
    return "".join(f"local {name} = {_lua(table)}\n" for name, table in tables.items()) + SCRIPT.read_text()


def per_route(method: Method) -> Json:
    """What makes the filter check the requests of a binding."""
    return {FILTER: {"@type": _PER_ROUTE, "filter_context": {"binding": _binding(method)}}}


def _binding(method: Method) -> str:
    return f"{method.verb} {method.path}"


def _query(described: Contract, method: Method) -> _Fields:
    """The parameters of a query: the fields that are neither in the path nor the body alone. Where a body has them too,
    a client may send its mask in the query."""
    return _fields(described, method.request, {*_in_path(method), method.body})


def _body(described: Contract, method: Method) -> _Fields:
    """The fields of a body: those of the request that are not in the path."""
    return _fields(described, method.request, _in_path(method))


def _in_path(method: Method) -> set[str]:
    return {variable.strip("{}") for variable in VARIABLE.findall(method.path)}


def _fields(described: Contract, message: str, elsewhere: Container[str] = ()) -> _Fields:
    found: _Fields = {}
    for field in described.messages[message].descriptor.field:
        if field.name not in elsewhere:
            if not _is_known(described, field):
                raise ContractError(f"{message}.{field.name}: requests by REST are not checked for fields of its type")
            found[field.name] = found[field.json_name] = _field(field)
    return found


def _is_known(described: Contract, field: FieldDescriptorProto) -> bool:
    """Whether the filter can read a field: messages that are not ours, and maps, have forms of their own in JSON."""
    if field.type == FieldDescriptorProto.TYPE_MESSAGE and field.type_name not in _TEXTS:
        return field.type_name.lstrip(".") in described.messages
    return field.type in _KINDS


def _field(field: FieldDescriptorProto) -> Json:
    described: Json = {"name": field.json_name, "kind": "text" if field.type_name in _TEXTS else _KINDS[field.type]}
    if described["kind"] == "message":
        described["of"] = field.type_name.lstrip(".")
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        described["most"] = _LONGEST * field_rules(field).repeated.max_items
    return described


def _named_by(all_fields: Iterable[_Fields]) -> set[str]:
    return {field["of"] for fields in all_fields for field in fields.values() if "of" in field}


def _lua(value: Any) -> str:
    """A value as Lua writes it; names and paths of a contract need no escapes."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f'["{name}"]={_lua(item)}' for name, item in value.items()) + "}"
    return str(value).lower() if isinstance(value, int) else f'"{value}"'
