"""The interceptor: what every RPC passes, composed once per method when its servicer is registered.

    admission -> trace -> deadline -> identity -> policy -> validation -> handler -> error to status -> metrics

A servicer is registered through an `Interceptor` in place of the server. A method without a policy stops the start.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
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
from mesh.rpc.admission import RETRY_SECONDS, ConcurrencyLimit, Handler, Methods
from mesh.rpc.call import CallContext, Context, Headers, set_current_call
from mesh.rpc.http_headers import RequestHeaders, ResponseEtag, json_names
from mesh.rpc.identity import Tokens
from mesh.rpc.policy import policy_of
from mesh.rpc.service_identity import Callers
from mesh.rpc.status import abort, code_of, to_service_error
from mesh.runtime.errors import Internal, InvalidRequest, Overloaded
from mesh.runtime.telemetry import ServerSpan, call_recorder

log = logging.getLogger(__name__)

_READER = ThreadPoolExecutor(1, "large requests")
"""Reads large requests, one after the other: 1 MiB takes 30 ms, in which other calls run. Several threads would take
the interpreter's lock in turn, and each turn of the event loop would wait for all of them."""
_Respond: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
_LoadResponse: TypeAlias = Callable[[CallContext, Exception], Awaitable[Message | None]]
_MARGIN_SECONDS, _MARGIN_SHARE = 0.05, 0.05
"""A call ends this long before its deadline, at most this share of it: gRPC's own DEADLINE_EXCEEDED carries no error
details."""


class Interceptor:
    """Takes the place of the server in a generated `add_…Servicer_to_server`, and wraps the handlers it registers."""

    def __init__(
        self, tokens: Tokens, callers: Callers, database: Database | None, *, most_calls: int, most_streams: int
    ) -> None:
        """database: where responses are stored; None for a service without tables. most_calls, most_streams: at once;
        a call that streams its responses runs as long as its caller likes, and counts only as a stream."""
        self.tokens, self.callers, self.database = tokens, callers, database
        self.limit, self.stream_limit = ConcurrencyLimit(most_calls), ConcurrencyLimit(most_streams)
        self._methods = Methods()
        self.services: dict[str, dict[str, Handler]] = {}
        self.largest_request = 0
        """Of all methods, in bytes."""

    @property
    def begun(self) -> int:
        """How many calls ever began."""
        return self.limit.begun + self.stream_limit.begun

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Does nothing: the registered handlers below serve the same methods."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        """Wraps every method of a service; raises PolicyMissingError or UnboundedRequestError."""
        methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
        self.services[service] = {name: self._wrap(methods[name], handler) for name, handler in handlers.items()}

    def register(self, server: grpc.aio.Server) -> None:
        """Registers the wrapped handlers."""
        server.add_generic_rpc_handlers((self._methods,))

    def _wrap(self, method: MethodDescriptor, handler: Handler) -> Handler:
        # gRPC leaves a call of one request unanswered when the request is missing: all read their requests themselves.
        make: Any = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        intercepted = _InterceptedMethod(self, method, handler)
        self.largest_request = max(self.largest_request, intercepted.policy.largest_request)
        wrapped: Handler = make(intercepted.run, None, handler.response_serializer)
        self._methods.add(intercepted.name, wrapped, intercepted.limit, intercepted.record)
        return wrapped


def domain_of(method: MethodDescriptor) -> str:
    """The error domain of a method's service: `focusmesh.todo.v1` is `todo.focusmesh`."""
    return f"{method.containing_service.file.package.split('.')[1]}.focusmesh"


class _InterceptedMethod:
    """One method behind the interceptor; whatever does not depend on the call is prepared once."""

    def __init__(self, interceptor: Interceptor, method: MethodDescriptor, handler: Handler) -> None:
        service = method.containing_service.full_name
        self._tokens, self._callers = interceptor.tokens, interceptor.callers
        self.limit = interceptor.stream_limit if handler.response_streaming else interceptor.limit
        self.policy = policy_of(method)
        self._read = _request_reader(method, self.policy.largest_request, streams=handler.request_streaming)
        self._headers = None if handler.request_streaming else RequestHeaders(method)
        self._streams_in = handler.request_streaming
        self._respond = _responder(handler)
        self._etag = None if handler.response_streaming else ResponseEtag(method)
        self._load_response = _response_loader(method, interceptor.database)
        self._domain = domain_of(method)
        self._method = method
        self.name = f"{service}/{method.name}"
        self.record = call_recorder(service, method.name)
        self._attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method.name}

    async def run(self, requests: Any, context: Context) -> Any:
        """The behaviour that gRPC calls. A call of one request reads it, and is not counted before."""
        started = perf_counter()
        headers: Headers = dict(context.invocation_metadata() or ())
        span = ServerSpan(self.name, str(headers.get("traceparent", "")), SpanKind.SERVER, self._attributes)
        call = CallContext(self.name, headers, span.traceparent, requests, context)
        set_current_call(call)
        status, unexpected = "OK", None
        try:
            async with asyncio.timeout(_seconds_before_deadline(context)):
                if not self._streams_in:
                    call.request = await _one_request(context)
                with self.limit:
                    response = await self._serve(call, context)
                if self._etag and call.by_rest and (etag := self._etag.of(response)):
                    await context.send_initial_metadata((("etag", etag),))
                return response
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            status = context.code().name
            raise
        except Exception as error:  # noqa: BLE001 (nothing else may leave: grpc.aio would send its text)
            service_error = to_service_error(error)
            status = code_of(service_error).name
            unexpected = error if isinstance(service_error, Internal) else None
            await abort(context, service_error, self._domain, json_names(self._method) if call.by_rest else {})
        finally:
            span.end(status, unexpected)
            self.record(status, perf_counter() - started)

    async def _serve(self, call: CallContext, context: Context) -> Any:
        """Identity, policy, validation, handler; a call that fails may be a retry whose response is stored."""
        if self.limit.running > self.limit.most:
            raise Overloaded(retry_after=RETRY_SECONDS)
        if self.policy.internal:
            call.calling_service = self._callers.verify(call.headers)
            self.policy.permit_service(call.calling_service)
        elif not self.policy.public:
            call.identity = self._tokens.cached(call.headers) or await self._tokens.verify(call.headers)
            self.policy.permit(call.identity)
        if not self._streams_in and len(call.request) > validation.SMALL_BYTES:
            call.request = await asyncio.get_running_loop().run_in_executor(_READER, self._read, call.request)
        else:
            call.request = self._read(call.request)
        if self._headers:
            self._headers.apply(call.headers, context.invocation_metadata(), call.request)
        try:
            return await self._respond(call.request, context)
        except Exception as error:
            stored = await self._load_response(call, error)
            if stored is None:
                raise
            return stored


async def _one_request(context: Context) -> Any:
    """The bytes of the request of a call that has one; raises InvalidRequest when its caller ended without it."""
    request = await context.read()
    if request is grpc.aio.EOF:
        raise InvalidRequest(summary="request: is missing")
    return request


def _seconds_before_deadline(context: Context) -> float | None:
    """How long the call may take; None without a deadline."""
    seconds = context.time_remaining()
    return None if seconds is None else seconds - min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)


def _request_reader(method: MethodDescriptor, largest: int, *, streams: bool) -> Callable[[Any], Any]:
    """Returns what parses the bytes of a call into its request, or its requests."""
    read = validation.reader(method.input_type, largest)
    if not streams:
        return read

    async def read_each(contents: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for content in contents:
            yield read(content)

    return read_each


def _responder(handler: Handler) -> _Respond:
    """Returns what calls the handler's method and, when it streams, writes its responses."""
    method: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if not handler.response_streaming:
        respond: _Respond = method
        return respond

    async def write_each(request: Any, context: Context) -> None:
        responses = method(request, context)
        try:
            async for response in responses:
                await context.write(response)
        finally:
            await responses.aclose()

    return write_each


def _response_loader(method: MethodDescriptor, database: Database | None) -> _LoadResponse:
    """Returns what loads the stored response of a failed call; only requests with a request_id have one, and no guest's
    is in the database."""
    parse = GetMessageClass(method.output_type).FromString
    if database is None or "request_id" not in method.input_type.fields_by_name:

        async def load_nothing(_call: CallContext, _error: Exception) -> None:
            return None

        return load_nothing

    async def load(call: CallContext, error: Exception) -> Message | None:
        if not call.request.request_id or call.identity.guest_until or not idempotency.may_be_replay(error):
            return None
        stored = await idempotency.load_response(database, call.user_id, call.method, call.request)
        return None if stored is None else parse(stored)

    return load
