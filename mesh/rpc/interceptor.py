"""The guard: what every RPC passes, composed once per method when its servicer is registered.

    trace -> deadline -> identity -> policy -> validation -> handler -> refusal -> metrics

A servicer is registered through a `Interceptor` in place of the server. A method without a policy stops the start.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any, TypeAlias

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.trace import SpanKind

from mesh.database.pool import Database
from mesh.rpc import idempotency, validation
from mesh.rpc.call import CallContext, Context, Headers, set_current_call
from mesh.rpc.deadline import Deadlines
from mesh.rpc.identity import Tokens
from mesh.rpc.policy import policy_of
from mesh.rpc.service_identity import Callers
from mesh.rpc.status import abort, code_of, to_service_error
from mesh.runtime.errors import DeadlineExceeded, Internal, Overloaded
from mesh.runtime.telemetry import ServerSpan, call_recorder

log = logging.getLogger(__name__)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Respond: TypeAlias = Callable[[Any, Context], Awaitable[Any]]


class Interceptor:
    """Stands in for the server while a generated `add_…Servicer_to_server` runs, and registers guarded handlers."""

    def __init__(
        self, server: grpc.aio.Server, tokens: Tokens, callers: Callers, database: Database | None, *, most_calls: int
    ) -> None:
        """database: where remembered answers are; None for a service without tables. most_calls: at once."""
        self._server, self._tokens, self._callers, self._database = server, tokens, callers, database
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
            self._callers,
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
        answer: _Respond,
        read: Callable[[Any], Any],
        tokens: Tokens,
        callers: Callers,
        database: Database | None,
        room: _Room,
        deadlines: Deadlines,
    ) -> None:
        service = method.containing_service.full_name
        self._policy = policy_of(method)
        self._answer, self._read, self._tokens, self._callers = answer, read, tokens, callers
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
        traced = ServerSpan(self._name, str(headers.get("traceparent", "")), SpanKind.SERVER, self._attributes)
        call = CallContext(self._name, headers, traced.traceparent, request, context)
        set_current_call(call)
        deadline = self._deadlines.begin(context.time_remaining())
        status, unexpected = "OK", None
        self._room.running += 1
        try:
            return await self._pass(call, context)
        except asyncio.CancelledError:
            status = "DEADLINE_EXCEEDED" if deadline.passed else "CANCELLED"
            if not deadline.passed:
                raise
            await abort(context, DeadlineExceeded(), self._domain)
        except grpc.aio.AbortError:
            status = context.code().name
            raise
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

    async def _pass(self, call: CallContext, context: Context) -> Any:
        """Identity, policy, validation, handler; a call that fails may have been answered before."""
        if self._room.running > self._room.most:
            raise Overloaded(retry_after=0.5)
        if self._policy.internal:
            call.calling_service = self._callers.verify(call.headers)
            self._policy.permit_service(call.calling_service)
        elif not self._policy.public:
            call.identity = self._tokens.cached(call.headers) or await self._tokens.verify(call.headers)
            self._policy.permit(call.identity)
        call.request = self._read(call.request)
        try:
            return await self._answer(call.request, context)
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


def _answering(behaviour: Callable[..., Any], streams_out: bool) -> _Respond:
    if not streams_out:
        return behaviour

    async def answer(request: Any, context: Context) -> None:
        responses = behaviour(request, context)
        try:
            async for response in responses:
                await context.write(response)
        finally:
            await responses.aclose()

    return answer


def _replaying(
    method: MethodDescriptor, database: Database | None
) -> Callable[[CallContext, Exception], Awaitable[Message | None]]:
    """What answers a failed call from memory, for methods whose request has a request_id."""
    answer_type = GetMessageClass(method.output_type)
    if database is None or "request_id" not in method.input_type.fields_by_name:

        async def never(_call: CallContext, _error: Exception) -> None:
            return None

        return never

    async def replay(call: CallContext, error: Exception) -> Message | None:
        if not call.request.request_id or not idempotency.may_be_replay(error):
            return None
        stored = await idempotency.remembered(database, call.user_id, call.method, call.request)
        return None if stored is None else answer_type.FromString(stored)

    return replay
