"""Calls to the internal RPCs of another service, in the name of this one.

    preferences = PreferenceServiceStub(platform.client("auth").channel)
    response = await preferences.GetUserPreferences(pb.GetUserPreferencesRequest(user_id=call.user_id))

The trace and the deadline of the current call are propagated. Raises DependencyUnavailable when the callee is
unavailable or does not respond in time, DeadlineExceeded when the current call has no time left, CalleeError with the
callee's own reason, and UnexpectedResponse, which callers see as INTERNAL, for every other status.
"""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import grpc
from focusmesh.policy.v1 import policy_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from mesh.rpc.call import time_remaining
from mesh.rpc.service_identity import ServiceSigner
from mesh.rpc.status import CalleeError, detail, status_of_call
from mesh.runtime import tls
from mesh.runtime.errors import DeadlineExceeded, DependencyUnavailable
from mesh.runtime.lifecycle import Component
from mesh.runtime.telemetry import current_traceparent

_DEFAULT_SECONDS = 5.0
_MARGIN_SECONDS = 0.1
"""Kept of the current call's deadline, so that an error of the callee still reaches the caller."""
_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""gRPC itself cancels calls that a busy server does not take up."""
_PAUSES_SECONDS = (0.05, 0.1, 0.2)
"""Before each retry; randomly half to all of it, so that callers do not retry together."""
_SERVICE_CONFIG = json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}})
"""Every replica of the callee in turn, as long as it is SERVING."""


class UnexpectedResponse(Exception):  # noqa: N818 (the name says more than Error would)
    """A status that no correct call ends with: a fault of the caller, of the callee or of their configuration."""


class ServiceClient(Component):
    """The connections to one other service. Always ready: RPCs that need no other service are still served."""

    def __init__(
        self, callee: str, target: str, signer: ServiceSigner, credentials: grpc.ChannelCredentials | None
    ) -> None:
        """target: gRPC address; `ipv4:host:port,host:port` names every replica. credentials: None for plain text."""
        self.callee = callee
        self.channel = tls.channel(
            target, credentials, (("grpc.service_config", _SERVICE_CONFIG),), (_ServiceCalls(callee, signer),)
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self.channel.close()


class _Deadline(NamedTuple):
    at: float
    """By the monotonic clock."""
    of_current_call: bool

    @property
    def seconds(self) -> float:
        return self.at - time.monotonic()


class _ServiceCalls(grpc.aio.UnaryUnaryClientInterceptor):
    """Signs every call, sets its deadline, retries it where that is safe, and converts its error."""

    def __init__(self, callee: str, signer: ServiceSigner) -> None:
        self._callee, self._signer = callee, signer

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        method = _method(client_call_details.method)
        deadline = _deadline(client_call_details.timeout, method)
        pauses = _pauses(method, request)
        while deadline.seconds > 0:
            details = client_call_details._replace(timeout=deadline.seconds, metadata=self._metadata())
            try:
                return await (await continuation(details, request))
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    break
                pause = next(pauses, None) if error.code() in _UNAVAILABLE else None
                if pause is None or pause > deadline.seconds:
                    raise self._exception(error, method) from None
            await asyncio.sleep(pause)
        raise DeadlineExceeded if deadline.of_current_call else DependencyUnavailable(self._callee)

    def _metadata(self) -> grpc.aio.Metadata:
        metadata = grpc.aio.Metadata(("authorization", f"Bearer {self._signer.token(self._callee, now=time.time())}"))
        if traceparent := current_traceparent():
            metadata.add("traceparent", traceparent)
        return metadata

    def _exception(self, error: grpc.aio.AioRpcError, method: MethodDescriptor) -> Exception:
        """The exception that replaces a gRPC error."""
        code, status = error.code(), status_of_call(error)
        info = detail(status, error_details_pb2.ErrorInfo)
        if info.domain == f"{self._callee}.focusmesh" or code is grpc.StatusCode.ABORTED:
            return CalleeError(code, status)
        if code in _UNAVAILABLE or code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return DependencyUnavailable(self._callee)
        return UnexpectedResponse(f"{method.full_name} ended with {code.name}: {error.details()}")


@cache
def _method(path: str | bytes) -> MethodDescriptor:
    """The method of `/package.Service/Method`."""
    _, service, name = (path if isinstance(path, str) else path.decode()).split("/")
    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]


def _deadline(timeout: float | None, method: MethodDescriptor) -> _Deadline:
    """The earliest of: what the caller of the stub allows, or else the callee's policy; and the current call's own."""
    rule = method.GetOptions().Extensions[policy_pb2.rule]
    seconds = timeout or rule.deadline_seconds or _DEFAULT_SECONDS
    remaining = time_remaining()
    if remaining is None or seconds <= remaining - _MARGIN_SECONDS:
        return _Deadline(time.monotonic() + seconds, of_current_call=False)
    return _Deadline(time.monotonic() + remaining - _MARGIN_SECONDS, of_current_call=True)


def _pauses(method: MethodDescriptor, request: Message) -> Iterator[float]:
    """Seconds before each retry; no retries unless the contract declares the call repeatable."""
    level = method.GetOptions().idempotency_level
    fields = {field.name for field, _ in request.ListFields()}
    if level == MethodOptions.NO_SIDE_EFFECTS or (level == MethodOptions.IDEMPOTENT and "request_id" in fields):
        for pause in _PAUSES_SECONDS:
            yield pause * random.uniform(0.5, 1)  # noqa: S311 (not a secret)
