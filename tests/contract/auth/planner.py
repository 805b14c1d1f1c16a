"""A service that calls auth, wired as every service is: it returns to its users their own preferences."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from focusmesh.auth.v1 import preference_pb2
from focusmesh.auth.v1 import preference_service_pb2 as auth_pb
from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub
from focusmesh.policy.v1 import policy_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue

from mesh.platform import Platform
from mesh.rpc.call import Context, current_call
from mesh.runtime.settings import ServiceSettings
from tests.contract.auth.requests import private_pem, public_pem
from tests.support.serving import SignerKeys, serving
from tests.support.tokens import Signer

SERVICE = "focusmesh.planner.v1.PlannerService"
Ask = Callable[..., "grpc.aio.UnaryUnaryCall[StringValue, preference_pb2.UserPreferences]"]


class Caller:
    """A service's key pair, as files."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.key = name, Ed25519PrivateKey.generate()
        self.private_file, self.public_file = folder / f"{name}.pem", folder / f"{name}.pub.pem"
        self.private_file.write_bytes(private_pem(self.key))
        self.public_file.write_bytes(public_pem(self.key.public_key()))


class PlannerHandlers:
    """One RPC: the preferences of the caller, or of the user that the request names."""

    def __init__(self, preferences: PreferenceServiceStub) -> None:
        self.preferences = preferences

    async def Plan(self, request: StringValue, _context: Context) -> preference_pb2.UserPreferences:
        requested = auth_pb.GetUserPreferencesRequest(user_id=request.value or current_call().user_id)
        return (await self.preferences.GetUserPreferences(requested)).preferences


def declare() -> None:
    """Adds the planner to the descriptor pool."""
    file = descriptor_pb2.FileDescriptorProto(name="planner.proto", package="focusmesh.planner.v1", syntax="proto3")
    file.dependency.extend([StringValue.DESCRIPTOR.file.name, preference_pb2.DESCRIPTOR.name])
    method = file.service.add(name="PlannerService").method.add(
        name="Plan", input_type=".google.protobuf.StringValue", output_type=".focusmesh.auth.v1.UserPreferences"
    )
    rule = policy_pb2.Rule(access=policy_pb2.ACCESS_USER, scope="profile:read", rate=policy_pb2.RATE_CLASS_READ)
    method.options.Extensions[policy_pb2.rule].CopyFrom(rule)
    descriptor_pool.Default().Add(file)


@asynccontextmanager
async def planner(settings: ServiceSettings, signer: Signer, name: str = "pomodoro") -> AsyncIterator[Ask]:
    """Runs the planner as the service `name`; the result calls it. signer: of its users' tokens."""
    platform = Platform(name, settings, SignerKeys(signer))
    servicer = PlannerHandlers(PreferenceServiceStub(platform.client("auth").channel))
    async with serving(platform.app([(_register, servicer)])) as channel:
        yield channel.unary_unary(
            f"/{SERVICE}/Plan", StringValue.SerializeToString, preference_pb2.UserPreferences.FromString
        )


def _register(servicer: PlannerHandlers, server: grpc.aio.Server) -> None:
    """What a generated `add_…Servicer_to_server` does."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.Plan, StringValue.FromString, preference_pb2.UserPreferences.SerializeToString
    )
    server.add_registered_method_handlers(SERVICE, {"Plan": handler})


def calling(settings: ServiceSettings, caller: Caller, target: str) -> ServiceSettings:
    """Settings of a service that calls auth there."""
    return replace(settings, service_key_file=str(caller.private_file), call_targets=f"auth={target}")
