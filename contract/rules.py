"""What every RPC of ours must say beyond what `buf lint` asks: policy, idempotency, errors, routes, bounds.

Each rule yields what breaks it; `make lint` checks them all, and the gateway those that its routes rest on.
"""

import re
from collections.abc import Callable, Iterator
from itertools import combinations

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from contract.descriptors import GRANTED, SHARED_REASONS, Contract, Message, field_rules
from contract.methods import Method

VERBS_WITH_BODY = {"POST": "*", "PATCH": "*", "GET": "", "DELETE": ""}
ADMIN_SCOPE = "admin"
GO_MODULE = "focusmesh.example/go"
"""Of nobody: `.example` is reserved. Whoever makes stubs puts their own module before it."""
VARIABLE = re.compile(r"\{\w+\}")
MANY = re.compile("Batch|Import|Export|Search")
ANY_BODY = ".google.api.HttpBody"
Field = FieldDescriptorProto
# A string rule that bounds the length by itself.
BOUNDING = ("max_len", "len", "max_bytes", "len_bytes", "const", "uuid", "ip", "ipv4", "ipv6")


def segments(path: str) -> list[str]:
    """The segments of a path, without a `:verb` at the end."""
    return path.split(":", maxsplit=1)[0].strip("/").split("/")


def collide(one: str, other: str) -> bool:
    """Whether two paths, equal so far, have a literal beside a variable, or variables of two names."""
    for left, right in zip(segments(one), segments(other), strict=False):
        if left != right:
            return bool(VARIABLE.fullmatch(left) or VARIABLE.fullmatch(right))
    return False


def route_collisions(described: Contract) -> Iterator[str]:
    """No two routes that one request could mean."""
    routed = [rpc for rpc in described.rpcs if rpc.path]
    for one, other in combinations(routed, 2):
        if (one.verb, one.path) == (other.verb, other.path):
            yield f"{one.full_name} and {other.full_name} have the same route {one.verb} {one.path}"
        elif collide(one.path, other.path):
            yield f"{one.full_name} and {other.full_name} collide: {one.path}, {other.path}"


def policies(described: Contract) -> Iterator[str]:
    """Every RPC says who may call it and how calls are counted."""
    for rpc in described.rpcs:
        if not rpc.has_policy or rpc.access == "UNSPECIFIED" or rpc.rate == "UNSPECIFIED":
            yield f"{rpc.full_name} has no whole policy option"
        if rpc.access in ("GUEST", "USER", "ADMIN") and not rpc.scope:
            yield f"{rpc.full_name} needs a scope"


def scopes(described: Contract) -> Iterator[str]:
    """No scope that every signed-in user is granted opens an RPC of administrators or of services."""
    granted = set(described.user_scopes)
    for rpc in described.rpcs:
        if rpc.access in ("ADMIN", "INTERNAL") and rpc.scope in granted:
            yield f"{rpc.full_name} shares scope {rpc.scope} with RPCs of users, who are granted it"
        if rpc.access in GRANTED and rpc.scope == ADMIN_SCOPE:
            yield f"{rpc.full_name} would grant every user the administrator's scope"


def internal(described: Contract) -> Iterator[str]:
    """Internal RPCs, and only they, name their callers and the user that they are about."""
    for rpc in described.rpcs:
        is_internal = rpc.access == "INTERNAL"
        if is_internal != bool(rpc.callers):
            yield f"{rpc.full_name}: an internal RPC names its callers, and only an internal one does"
        if rpc.owner in rpc.callers:
            yield f"{rpc.full_name}: {rpc.owner} may not call itself"
        if is_internal and rpc.scope:
            yield f"{rpc.full_name} is internal and needs a scope, which services do not have"
        users = [field for field in described.messages[rpc.request].descriptor.field if field.name == "user_id"]
        if is_internal != bool(users):
            yield f"{rpc.full_name}: an internal request names the user_id, and only an internal one does"
        if any(not field_rules(field).string.uuid for field in users):
            yield f"{rpc.full_name}: user_id is no uuid"


def idempotency(described: Contract) -> Iterator[str]:
    """Every RPC says whether it can be repeated."""
    for rpc in described.rpcs:
        if not rpc.idempotency:
            yield f"{rpc.full_name} has no idempotency_level"
        fields = [field.name for field in described.messages[rpc.request].descriptor.field]
        if rpc.rate in ("WRITE", "EXPENSIVE") and not rpc.repeatable and "request_id" not in fields:
            yield f"{rpc.full_name} writes and takes no request_id"


def expensive(described: Contract) -> Iterator[str]:
    """What does in one call the work of many has their allowance for it."""
    for rpc in described.rpcs:
        if rpc.exposed and MANY.match(rpc.name) and rpc.rate != "EXPENSIVE":
            yield f"{rpc.full_name} may do the work of many calls, and its rate is not RATE_CLASS_EXPENSIVE"


def declared_errors(described: Contract) -> Iterator[str]:
    """Every RPC lists its errors, and they exist."""
    for rpc in described.rpcs:
        if rpc.errors is None:
            yield f"{rpc.full_name}: its comment has no `Errors: A, B.` (or `Errors: none of its own.`)"
        known = {**described.reasons[SHARED_REASONS], **described.reasons.get(rpc.package, {})}
        for reason in rpc.errors or ():
            if reason not in known:
                yield f"{rpc.full_name}: its comment names {reason}, which no ErrorReason has"


def bindings(described: Contract) -> Iterator[str]:
    """An RPC has one route at most, and an internal one has none."""
    for rpc in described.rpcs:
        if rpc.access == "INTERNAL" and rpc.path:
            yield f"{rpc.full_name} is internal and has a route"
        if rpc.more_bindings:
            yield f"{rpc.full_name} has several routes"


def routes(described: Contract) -> Iterator[str]:
    """Routes follow the conventions; only internal RPCs and streams go without."""
    for rpc in described.rpcs:
        if rpc.access != "INTERNAL" and not rpc.path and not rpc.streaming:
            yield f"{rpc.full_name} has no route"
        if rpc.path and VERBS_WITH_BODY.get(rpc.verb) != rpc.body and not _is_any_body(described, rpc):
            yield f"{rpc.full_name}: {rpc.verb} with body {rpc.body!r}"


def _is_any_body(described: Contract, rpc: Method) -> bool:
    """Whether a POST takes a body of any type as it is, which programs send that know no JSON of ours."""
    fields = described.messages[rpc.request].descriptor.field
    return rpc.verb == "POST" and any(field.name == rpc.body and field.type_name == ANY_BODY for field in fields)


def bounded(field: Field) -> bool:
    """Whether a field of a request has an upper bound or is of a kind that needs none."""
    rules = field_rules(field)
    if field.label == Field.LABEL_REPEATED:
        return rules.repeated.HasField("max_items") or rules.map.HasField("max_pairs")
    if field.type in (Field.TYPE_STRING, Field.TYPE_BYTES):
        limits = rules.string if field.type == Field.TYPE_STRING else rules.bytes
        return any(rule.name in BOUNDING for rule, _ in limits.ListFields())
    return field.type != Field.TYPE_ENUM or rules.enum.defined_only


def inputs(described: Contract) -> Iterator[Message]:
    """Every message of ours that a caller may send."""
    fresh = {rpc.request for rpc in described.rpcs}
    seen: set[str] = set()
    while fresh:
        seen |= fresh
        for name in sorted(fresh):
            yield described.messages[name]
        used = {field.type_name.lstrip(".") for name in fresh for field in described.messages[name].descriptor.field}
        fresh = (used & described.messages.keys()) - seen


def bounds(described: Contract) -> Iterator[str]:
    """Every string, list and enum of a request is bounded."""
    for message in inputs(described):
        for field in message.descriptor.field:
            if not bounded(field):
                yield f"{message.name}.{field.name} has no upper bound"


def masks(described: Contract) -> Iterator[str]:
    """An update mask may name every field that an update changes, and no other."""
    for rpc in described.rpcs:
        fields = {field.name: field for field in described.messages[rpc.request].descriptor.field}
        if "update_mask" in fields:
            identifying = {name.strip("{}") for name in VARIABLE.findall(rpc.path)}
            changeable = fields.keys() - identifying - {"update_mask", "etag", "request_id"}
            named = set(getattr(field_rules(fields["update_mask"]).field_mask, "in"))
            for field in sorted(changeable ^ named):
                yield f"{rpc.full_name}: {field} is not both a field of the request and named in field_mask.in"


def cleared_enums(described: Contract) -> Iterator[str]:
    """What responses show for an enum that is not set can be sent back in an update, and clears it."""
    for message in inputs(described):
        fields = {field.name: field for field in message.descriptor.field}
        if "update_mask" in fields:
            for name in getattr(field_rules(fields["update_mask"]).field_mask, "in"):
                if name in fields and 0 in field_rules(fields[name]).enum.not_in:
                    yield f"{message.name}.{name} refuses its zero, which clears it"


def json_types(described: Contract) -> Iterator[str]:
    """No field becomes a string in JSON or changes its name on the way."""
    files = {
        "focusmesh.calendar.v1.ImportEventsRequest.content"
    }  # text whose encoding may be wrong, or split characters
    wide = {Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_SINT64, Field.TYPE_FIXED64, Field.TYPE_SFIXED64}
    for message in described.messages.values():
        for field in message.descriptor.field:
            is_bytes = field.type == Field.TYPE_BYTES and f"{message.name}.{field.name}" not in files
            if field.type in wide or is_bytes:
                yield f"{message.name}.{field.name} is int64 or bytes, which JSON shows as a string"
            if re.search(r"_\d", field.name):
                yield f"{message.name}.{field.name} has an underscore before a digit"


def languages(described: Contract) -> Iterator[str]:
    """Every file says where it belongs in Go and in Java, so that plain protoc makes stubs of it."""
    for source in described.sources:
        file, options = source.file, source.file.options
        place = f"{GO_MODULE}/{file.package.replace('.', '/')};{''.join(file.package.split('.')[1:])}"
        if options.go_package != place:
            yield f'{file.name}: its go_package is not "{place}"'
        if options.java_package != file.package or not options.java_multiple_files:
            yield f'{file.name}: its java_package is not "{file.package}", or java_multiple_files is not set'


RULES: tuple[Callable[[Contract], Iterator[str]], ...] = (
    policies,
    scopes,
    internal,
    idempotency,
    expensive,
    declared_errors,
    bindings,
    routes,
    route_collisions,
    bounds,
    masks,
    cleared_enums,
    json_types,
    languages,
)


GATEWAY_RULES = (policies, bindings, route_collisions)
"""Rules that the gateway's routes depend on."""


class ContractError(Exception):
    """The contract asks for something that the gateway cannot serve safely."""


def require_routable(described: Contract) -> None:
    """Raises ContractError with everything that keeps RPCs from being routed safely."""
    if broken := [complaint for rule in GATEWAY_RULES for complaint in rule(described)]:
        raise ContractError("; ".join(broken))


def complaints(described: Contract) -> list[str]:
    """Everything that any rule complains about."""
    return [complaint for rule in RULES for complaint in rule(described)]
