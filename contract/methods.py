"""One RPC of the contract with everything that its definition says."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Binding:
    """The REST name of an RPC."""

    verb: str
    template: str
    body: str
    """`*` where the request is the body; the field that holds a body of any type; empty where there is none."""

    @property
    def has_body(self) -> bool:
        """Whether a request carries a body of JSON."""
        return self.body == "*"

    @property
    def pattern(self) -> str:
        """The template as an RE2 expression. A variable is one segment without a colon, which begins a verb."""
        pieces = re.split(r"(\{[^}]*\})", self.template)
        return "".join("[^/:]+" if piece.startswith("{") else re.escape(piece) for piece in pieces)

    @property
    def is_literal(self) -> bool:
        """Whether the path has no variable."""
        return "{" not in self.template


@dataclass(frozen=True)
class Method:
    """One RPC."""

    package: str
    service: str
    """Name of the proto service, such as `TaskService`."""
    name: str
    file: str
    comment: str
    """Empty where it was read from a descriptor set without source information."""
    request: str
    """Full name of the message."""
    response: str
    streaming: bool
    client_streaming: bool
    verb: str
    """HTTP method in capitals; empty for an RPC without a route."""
    path: str
    body: str
    more_bindings: bool
    access: str
    """`PUBLIC`, `GUEST`, `USER`, `ADMIN` or `INTERNAL`; `UNSPECIFIED` where the policy does not say."""
    scope: str
    rate: str
    """`READ`, `WRITE`, `EXPENSIVE`, `CREDENTIAL`, `SESSION` or `STREAM`."""
    deadline_seconds: int
    """The longest that a call may take; 0 for streams, which have no limit."""
    largest_request_kib: int
    """0: that of every RPC."""
    has_policy: bool
    callers: tuple[str, ...]
    """Services that may call it, when it is internal."""
    idempotency: str
    """Empty when the definition does not say."""
    errors: tuple[str, ...] | None
    """Reasons of the comment's `Errors:`; None when it has none."""

    @property
    def full_name(self) -> str:
        """As tables and documents name it: without the leading slash of `grpc_path`."""
        return f"{self.package}.{self.service}/{self.name}"

    @property
    def grpc_path(self) -> str:
        """The path of a call by gRPC."""
        return f"/{self.full_name}"

    @property
    def full_service(self) -> str:
        """Full name of the proto service."""
        return f"{self.package}.{self.service}"

    @property
    def owner(self) -> str:
        """The service that serves it, which is also its cluster at the gateway: `todo` for `focusmesh.todo.v1`."""
        return self.package.split(".")[1]

    @property
    def exposed(self) -> bool:
        """Whether it can be called from outside."""
        return self.access != "INTERNAL"

    @property
    def public(self) -> bool:
        """Whether it needs no token."""
        return self.access == "PUBLIC"

    @property
    def repeatable(self) -> bool:
        """Whether calling it again changes nothing."""
        return self.idempotency == "NO_SIDE_EFFECTS"

    @property
    def binding(self) -> Binding | None:
        """Its REST name, if it has one."""
        return Binding(self.verb, self.path, self.body) if self.verb else None
