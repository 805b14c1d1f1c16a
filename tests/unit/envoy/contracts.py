"""Small contracts for tests of what is derived from them."""

from focusmesh.policy.v1 import policy_pb2
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from contract.descriptors import Contract


def rpc(
    name: str,
    http: http_pb2.HttpRule | None = None,
    *,
    access: policy_pb2.Access = policy_pb2.ACCESS_USER,
    rate: policy_pb2.RateClass = policy_pb2.RATE_CLASS_READ,
    deadline_seconds: int = 0,
    idempotency: descriptor_pb2.MethodOptions.IdempotencyLevel = descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN,
    streaming: bool = False,
) -> descriptor_pb2.MethodDescriptorProto:
    """One RPC with its options."""
    method = descriptor_pb2.MethodDescriptorProto(name=name, server_streaming=streaming)
    method.options.idempotency_level = idempotency
    scope = "items:buy" if access == policy_pb2.ACCESS_USER else ""
    rule = policy_pb2.Rule(access=access, scope=scope, rate=rate, deadline_seconds=deadline_seconds)
    method.options.Extensions[policy_pb2.rule].CopyFrom(rule)
    if http:
        method.options.Extensions[annotations_pb2.http].CopyFrom(http)
    return method


def keys_rpc() -> descriptor_pb2.FileDescriptorProto:
    """The RPC that every gateway needs."""
    http = http_pb2.HttpRule(get="/.well-known/jwks.json")
    get_jwks = rpc("GetJwks", http, access=policy_pb2.ACCESS_PUBLIC)
    service = descriptor_pb2.ServiceDescriptorProto(name="KeyService", method=[get_jwks])
    return descriptor_pb2.FileDescriptorProto(
        name="focusmesh/keys.proto", package="focusmesh.auth.v1", service=[service]
    )


def a_contract(*methods: descriptor_pb2.MethodDescriptorProto, package: str = "focusmesh.shop.v1") -> Contract:
    """A contract with one service, `ShopService`, and the keys of tokens."""
    service = descriptor_pb2.ServiceDescriptorProto(name="ShopService", method=methods)
    shop = descriptor_pb2.FileDescriptorProto(name="focusmesh/shop.proto", package=package, service=[service])
    return Contract(descriptor_pb2.FileDescriptorSet(file=[shop, keys_rpc()]))
