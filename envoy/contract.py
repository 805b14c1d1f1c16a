"""What the contract says about each RPC that a gateway must know: access, rate, deadline, HTTP binding."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from focusmesh.policy.v1 import policy_pb2
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTOR_SET = ROOT / "gen" / "gateway" / "gateway.binpb"
DEFAULT_DEADLINE_SECONDS = 5
_VERBS = ("get", "post", "patch", "delete", "put")
_PACKAGE = re.compile(r"focusmesh\.([a-z]+)\.v\d+")


class ContractError(Exception):
    """The contract asks for something that the gateway cannot serve."""


class Binding(NamedTuple):
    """The REST name of an RPC."""

    verb: str
    template: str
    has_body: bool

    @property
    def pattern(self) -> str:
        """The template as an RE2 expression. A variable is one segment without a colon, which begins a verb."""
        parts = re.split(r"(\{[^}]*\})", self.template)
        return "".join("[^/:]+" if part.startswith("{") else re.escape(part) for part in parts)

    @property
    def is_literal(self) -> bool:
        """Whether the path has no variable."""
        return "{" not in self.template


class Method(NamedTuple):
    """One RPC."""

    service: str
    """Full name of the proto service."""
    name: str
    cluster: str
    """The service of ours that answers it: `todo` for `focusmesh.todo.v1`."""
    rule: policy_pb2.Rule
    repeatable: bool
    """Whether calling it again changes nothing."""
    streaming: bool
    client_streaming: bool
    binding: Binding | None

    @property
    def full_name(self) -> str:
        """The path of the RPC by gRPC, with its leading slash."""
        return f"/{self.service}/{self.name}"

    @property
    def exposed(self) -> bool:
        """Whether it can be called from outside."""
        return self.rule.access != policy_pb2.ACCESS_INTERNAL

    @property
    def public(self) -> bool:
        """Whether it needs no token."""
        return self.rule.access == policy_pb2.ACCESS_PUBLIC

    @property
    def rate(self) -> str:
        """Its rate class: `read`, `write`, `credential` or `stream`."""
        return policy_pb2.RateClass.Name(self.rule.rate).removeprefix("RATE_CLASS_").lower()

    @property
    def deadline_seconds(self) -> int:
        """The longest that a call may take; streams have no limit."""
        return 0 if self.streaming else self.rule.deadline_seconds or DEFAULT_DEADLINE_SECONDS


def read(descriptor_set: bytes) -> list[Method]:
    """Every RPC of our packages; raises ContractError for one that cannot be routed."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
    return [
        _method(package[1], f"{file.package}.{service.name}", method)
        for file in files
        if (package := _PACKAGE.fullmatch(file.package))
        for service in file.service
        for method in service.method
    ]


def _method(cluster: str, service: str, method: descriptor_pb2.MethodDescriptorProto) -> Method:
    options = method.options
    rule = options.Extensions[policy_pb2.rule]
    if not rule.access or not rule.rate:
        raise ContractError(f"{service}.{method.name} has no policy")
    binding = _binding(options.Extensions[annotations_pb2.http])
    if rule.access == policy_pb2.ACCESS_INTERNAL and binding:
        raise ContractError(f"{service}.{method.name} is internal and has an HTTP binding")
    return Method(
        service,
        method.name,
        cluster,
        rule,
        options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
        method.client_streaming or method.server_streaming,
        method.client_streaming,
        binding,
    )


def _binding(rule: http_pb2.HttpRule) -> Binding | None:
    if rule.additional_bindings:
        raise ContractError(f"{rule} has several bindings: one per RPC")
    verb = rule.WhichOneof("pattern")
    if verb is None:
        return None
    if verb not in _VERBS:
        raise ContractError(f"{rule}: only {', '.join(_VERBS)}")
    return Binding(verb.upper(), getattr(rule, verb), bool(rule.body))


def collisions(methods: list[Method]) -> Iterator[str]:
    """Pairs of RPCs that one request could mean: the same verb, and a path that fits both."""
    bound = [(method, method.binding) for method in methods if method.binding]
    for index, (first, one) in enumerate(bound):
        for second, other in bound[index + 1 :]:
            if one.verb == other.verb and _overlap(one.template, other.template):
                yield f"{first.full_name} and {second.full_name}: {one.verb} {one.template}, {other.template}"


def _overlap(one: str, other: str) -> bool:
    """Whether a path can fit both templates: segment by segment, a variable fits any text without a colon."""
    left, right = _segments(one), _segments(other)
    return len(left) == len(right) and all(map(_segments_overlap, left, right))


def _segments(template: str) -> list[str]:
    path, _, verb = re.sub(r"\{[^}]*\}", "*", template).partition(":")
    return [*path.strip("/").split("/"), f":{verb}"]


def _segments_overlap(one: str, other: str) -> bool:
    return one == other or (not (one + other).startswith(":") and "*" in (one, other))
