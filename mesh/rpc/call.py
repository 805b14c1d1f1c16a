"""The current call: its caller, its headers, and the side effects that commit with its write."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from mesh.events import shares
from mesh.events.outbox import Event, SideEffects
from mesh.rpc import idempotency
from mesh.rpc.identity import NOBODY, Identity

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
"""The second argument of a handler, as the generated stubs declare it."""
Headers: TypeAlias = Mapping[str, str | bytes]


class CallContext:
    """One call behind the interceptor."""

    __slots__ = ("_context", "calling_service", "headers", "identity", "method", "request", "traceparent")

    def __init__(self, method: str, headers: Headers, traceparent: str, request: Any, context: Context) -> None:
        """method: `package.Service/Method`. request: the message, or the iterator of messages."""
        self.method = method
        self.headers = headers
        self.identity: Identity = NOBODY
        self.calling_service = ""
        """Name of the service that calls an internal RPC; empty in all others."""
        self.traceparent = traceparent
        self.request = request
        self._context = context

    @property
    def user_id(self) -> str:
        """The user that the call is about: its caller, or whom an internal request names; empty in public RPCs."""
        user_id: str = self.request.user_id if self.calling_service else self.identity.user_id
        return user_id

    @property
    def by_rest(self) -> bool:
        """Whether the gateway made the call of a REST request."""
        return "x-envoy-original-path" in self.headers

    def side_effects(self, response: Message, *events: Event) -> SideEffects:
        """The events of the call's write, and its response for a retry when the caller gave a request_id.

        Raises ShareExhausted when the caller has stored too much; not between services, whose callers work for many.
        """
        stored = idempotency.stored_response(self.user_id, self.method, self.request, response)
        side_effects = SideEffects(events, stored, self.traceparent)
        if not self.calling_service:
            shares.require_room(self.user_id, side_effects)
        return side_effects

    def peer_address(self) -> str:
        """The caller's address: the one the gateway saw, or the connection's own."""
        forwarded = self.headers.get("x-envoy-external-address") or self.headers.get("x-forwarded-for")
        if isinstance(forwarded, str) and forwarded:
            return forwarded.rpartition(",")[2].strip()
        return self._context.peer()

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return self._context.time_remaining()


_current: ContextVar[CallContext] = ContextVar("call")


def current_call() -> CallContext:
    """The call that this task serves; raises LookupError outside a handler."""
    return _current.get()


def time_remaining() -> float | None:
    """Seconds until the deadline of the current call; None without one, and outside a call."""
    call = _current.get(None)
    return None if call is None else call.time_remaining()


def set_current_call(call: CallContext) -> None:
    """Sets the call of the current task, which gRPC starts for this call alone."""
    _current.set(call)
