"""Policy: who may call an RPC, as its contract declares."""

from dataclasses import dataclass

from focusmesh.policy.v1 import policy_pb2
from google.protobuf.descriptor import MethodDescriptor

from mesh.rpc.identity import Identity
from mesh.rpc.limits import LARGEST_REQUEST
from mesh.runtime.errors import CallerNotAllowed, GuestNotAllowed, ScopeMissing


class PolicyMissingError(Exception):
    """The policy of an RPC is missing or incomplete: its service must not start."""


@dataclass(frozen=True)
class Policy:
    """The policy of one RPC."""

    access: policy_pb2.Access.ValueType
    scope: str
    callers: frozenset[str]
    """Services that may call an internal RPC."""
    largest_request: int = LARGEST_REQUEST
    """Bytes."""

    @property
    def public(self) -> bool:
        """Whether callers need no token."""
        return self.access == policy_pb2.ACCESS_PUBLIC

    @property
    def internal(self) -> bool:
        """Whether only services may call it."""
        return self.access == policy_pb2.ACCESS_INTERNAL

    def permit_service(self, caller: str) -> None:
        """Raises CallerNotAllowed when this service may not call."""
        if caller not in self.callers:
            raise CallerNotAllowed(service=caller)

    def permit(self, identity: Identity) -> None:
        """Raises GuestNotAllowed or ScopeMissing when this user may not call."""
        if identity.guest_until and self.access != policy_pb2.ACCESS_GUEST:
            raise GuestNotAllowed
        if self.scope and self.scope not in identity.scopes:
            raise ScopeMissing(scope=self.scope)
        if self.access == policy_pb2.ACCESS_ADMIN and "admin" not in identity.scopes:
            raise ScopeMissing(scope="admin")


def policy_of(method: MethodDescriptor) -> Policy:
    """Reads the policy option of a method; raises PolicyMissingError."""
    options = method.GetOptions()
    rule = options.Extensions[policy_pb2.rule]
    if rule.access == policy_pb2.ACCESS_UNSPECIFIED or rule.rate == policy_pb2.RATE_CLASS_UNSPECIFIED:
        raise PolicyMissingError(
            f"{method.full_name} has no policy: declare (focusmesh.policy.v1.rule) with an access and a rate"
        )
    if (rule.access == policy_pb2.ACCESS_INTERNAL) != bool(rule.callers):
        raise PolicyMissingError(
            f"{method.full_name}: an internal RPC names its callers, and only an internal one does"
        )
    largest = rule.largest_request_kib * 1024 or LARGEST_REQUEST
    return Policy(rule.access, rule.scope, frozenset(rule.callers), largest)
