"""The guard: what every RPC passes, composed once per method when its servicer is registered.

    trace -> deadline -> identity -> policy -> validation -> handler -> refusal -> metrics

A servicer is registered through a `Interceptor` in place of the server. A method without a policy stops the start.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.trace import SpanKind

from mesh.database.pool import Database
from mesh.events.outbox import Event, SideEffects
from mesh.rpc import idempotency, validation
from mesh.rpc.deadline import Deadlines
from mesh.rpc.identity import NOBODY, Identity, Tokens
from mesh.rpc.policy import policy_of
from mesh.rpc.status import abort, code_of, to_service_error
from mesh.runtime.errors import DeadlineExceeded, Internal, Overloaded
from mesh.runtime.telemetry import ServerSpan, call_recorder

log = logging.getLogger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
"""What the generated stubs call the second argument of a handler; `caller` tells what it is."""
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Answering: TypeAlias = "Callable[[Any, Call], Awaitable[Any]]"
Headers: TypeAlias = Mapping[str, str | bytes]


class Call:
    """One call, as its handler sees it."""

    __slots__ = ("context", "headers", "identity", "method", "request", "traceparent")

    def __init__(self, method: str, headers: Headers, context: Context, request: Any) -> None:
        self.method = method
        self.headers = headers
        self.identity: Identity = NOBODY
        self.traceparent = ""
        self.request = request
        self.context = context

    @property
    def user_id(self) -> str:
        """The caller; empty in public RPCs."""
        return self.identity.user_id

    def effect(self, answer: Message, *events: Event) -> SideEffects:
        """What commits with the call's write: its events, and its answer when the caller gave a request_id."""
        return SideEffects(
            events, idempotency.response(self.user_id, self.method, self.request, answer), self.traceparent
        )

    def peer_address(self) -> str:
        """The caller's address: the one the gateway saw, or the connection's own."""
        forwarded = self.headers.get("x-envoy-external-address") or self.headers.get("x-forwarded-for")
        if isinstance(forwarded, str) and forwarded:
            return forwarded.rpartition(",")[2].strip()
        return self.context.peer()


def caller(context: Context) -> Call:
    """The call behind a handler's context. The guard passes a Call where the generated stubs say context."""
    return cast(Call, context)


class Interceptor:
    """Stands in for the server while a generated `add_…Servicer_to_server` runs, and registers guarded handlers."""

    def __init__(self, server: grpc.aio.Server, tokens: Tokens, database: Database | None, *, most_calls: int) -> None:
        """database: where remembered answers are; None for a service without tables. most_calls: at once."""
        self._server, self._tokens, self._database = server, tokens, database
        self._room, self._deadlines = _Room(most_calls), Deadlines()
        self.services: list[str] = []

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Nothing: the registered handlers below serve the same methods."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, _Handler]) -> None:
        """Guards every method of a service; raises PolicyMissingError."""
        methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
        guarded = {name: self._wrap(methods[name], handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))
        self._server.add_registered_method_handlers(service, guarded)
        self.services.append(service)

    def _wrap(self, method: MethodDescriptor, handler: _Handler) -> _Handler:
        streams_in, streams_out = handler.request_streaming, handler.response_streaming
        behaviour: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        guarded = _InterceptedMethod(
            method,
            _answering(behaviour, streams_out),
            _reading(method, streams_in),
            self._tokens,
            self._database,
            self._room,
            self._deadlines,
        )
        make: Any = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[streams_in, streams_out]
        wrapped: _Handler = make(guarded.run, None, handler.response_serializer)
        return wrapped


def domain_of(method: MethodDescriptor) -> str:
    """The error domain of a method's service: `focusmesh.todo.v1` is `todo.focusmesh`."""
    return f"{method.containing_service.file.package.split('.')[1]}.focusmesh"


class _Room:
    """How many calls run. Counted here and not by gRPC, which would refuse health checks with the others."""

    __slots__ = ("most", "running")

    def __init__(self, most: int) -> None:
        self.most, self.running = most, 0


class _InterceptedMethod:
    """One method behind its guard; everything that does not change from call to call is made once."""

    def __init__(
        self,
        method: MethodDescriptor,
        answer: "_Answering",
        read: Callable[[Any], Any],
        tokens: Tokens,
        database: Database | None,
        room: _Room,
        deadlines: Deadlines,
    ) -> None:
        service = method.containing_service.full_name
        self._policy = policy_of(method)
        self._answer, self._read, self._tokens = answer, read, tokens
        self._room, self._deadlines = room, deadlines
        self._replay = _replaying(method, database)
        self._domain = domain_of(method)
        self._name = f"{service}/{method.name}"
        self._record = call_recorder(service, method.name)
        self._attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method.name}

    async def run(self, request: Any, context: Context) -> Any:
        """What gRPC calls."""
        started = perf_counter()
        headers: Headers = dict(context.invocation_metadata() or ())
        call = Call(self._name, headers, context, request)
        traced = ServerSpan(self._name, str(headers.get("traceparent", "")), SpanKind.SERVER, self._attributes)
        call.traceparent = traced.traceparent
        deadline = self._deadlines.begin(context.time_remaining())
        status, unexpected = "OK", None
        self._room.running += 1
        try:
            return await self._pass(call)
        except asyncio.CancelledError:
            status = "DEADLINE_EXCEEDED" if deadline.passed else "CANCELLED"
            if not deadline.passed:
                raise
            await abort(context, DeadlineExceeded(), self._domain)
        except Exception as error:  # noqa: BLE001 (nothing else may leave: grpc.aio would send its text)
            refusal = to_service_error(error)
            status = code_of(refusal).name
            unexpected = error if isinstance(refusal, Internal) else None
            await abort(context, refusal, self._domain)
        finally:
            self._deadlines.end(deadline)
            self._room.running -= 1
            traced.end(status, unexpected)
            self._record(status, perf_counter() - started)

    async def _pass(self, call: Call) -> Any:
        """Identity, policy, validation, handler; a call that fails may have been answered before."""
        if self._room.running > self._room.most:
            raise Overloaded(retry_after=0.5)
        if not self._policy.public:
            call.identity = self._tokens.remembered(call.headers) or await self._tokens.verify(call.headers)
            self._policy.permit(call.identity)
        call.request = self._read(call.request)
        try:
            return await self._answer(call.request, call)
        except Exception as error:
            stored = await self._replay(call, error)
            if stored is None:
                raise
            return stored


def _reading(method: MethodDescriptor, streams_in: bool) -> Callable[[Any], Any]:
    """What turns the bytes of a call into its request, or its requests."""
    read = validation.reader(method.input_type)
    if not streams_in:
        return read

    async def read_each(contents: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for content in contents:
            yield read(content)

    return read_each


def _answering(behaviour: Callable[..., Any], streams_out: bool) -> "_Answering":
    if not streams_out:
        return cast(Callable[[Any, Call], Awaitable[Any]], behaviour)

    async def answer(request: Any, call: Call) -> None:
        responses = behaviour(request, call)
        try:
            async for response in responses:
                await call.context.write(response)
        finally:
            await responses.aclose()

    return answer


def _replaying(
    method: MethodDescriptor, database: Database | None
) -> Callable[[Call, Exception], Awaitable[Message | None]]:
    """What answers a failed call from memory, for methods whose request has a request_id."""
    answer_type = GetMessageClass(method.output_type)
    if database is None or "request_id" not in method.input_type.fields_by_name:

        async def never(_call: Call, _error: Exception) -> None:
            return None

        return never

    async def replay(call: Call, error: Exception) -> Message | None:
        if not call.request.request_id or not idempotency.may_be_replay(error):
            return None
        stored = await idempotency.remembered(database, call.user_id, call.method, call.request)
        return None if stored is None else answer_type.FromString(stored)

    return replay
