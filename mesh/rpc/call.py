"""The call that a handler serves: who makes it, with which headers, and what commits with its write."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from mesh.events.outbox import Event, SideEffects
from mesh.rpc import idempotency
from mesh.rpc.identity import NOBODY, Identity

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
"""The second argument of a handler, as the generated stubs declare it."""
Headers: TypeAlias = Mapping[str, str | bytes]


class CallContext:
    """One call behind the interceptor."""

    __slots__ = ("_context", "headers", "identity", "method", "request", "traceparent")

    def __init__(self, method: str, headers: Headers, traceparent: str, request: Any, context: Context) -> None:
        """method: `package.Service/Method`. request: the message, or the iterator of messages."""
        self.method = method
        self.headers = headers
        self.identity: Identity = NOBODY
        self.traceparent = traceparent
        self.request = request
        self._context = context

    @property
    def user_id(self) -> str:
        """The caller; empty in public RPCs."""
        return self.identity.user_id

    def side_effects(self, response: Message, *events: Event) -> SideEffects:
        """The events of the call's write, and its response for a retry when the caller gave a request_id."""
        stored = idempotency.response(self.user_id, self.method, self.request, response)
        return SideEffects(events, stored, self.traceparent)

    def peer_address(self) -> str:
        """The caller's address: the one the gateway saw, or the connection's own."""
        forwarded = self.headers.get("x-envoy-external-address") or self.headers.get("x-forwarded-for")
        if isinstance(forwarded, str) and forwarded:
            return forwarded.rpartition(",")[2].strip()
        return self._context.peer()


_current: ContextVar[CallContext] = ContextVar("call")


def current_call() -> CallContext:
    """The call that this task serves; raises LookupError outside a handler."""
    return _current.get()


def set_current_call(call: CallContext) -> None:
    """Sets it for the current task, which gRPC starts for this call alone."""
    _current.set(call)
