"""Conversion of service errors to gRPC statuses with `google.rpc` details."""

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn, TypeVar

import grpc
import psycopg
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from psycopg_pool import PoolTimeout

from mesh.runtime import errors, redis_errors
from mesh.runtime.ids import new_id

log = logging.getLogger(__name__)

DETAILS = "grpc-status-details-bin"
_CHALLENGE, _TOKEN_REFUSED = 'Bearer realm="focusmesh"', ', error="invalid_token"'
_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
D = TypeVar("D", bound=Message)

STATUS: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}

_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    PoolTimeout,
)


def to_service_error(error: Exception) -> errors.ServiceError:
    """The error to return for an exception: unavailable dependencies are UNAVAILABLE, unexpected ones INTERNAL."""
    if isinstance(error, errors.ServiceError):
        if isinstance(error, errors.DependencyUnavailable):
            log.warning("refused: %s is unavailable", error.dependency)
        return error
    if isinstance(error, psycopg.errors.QueryCanceled | TimeoutError):
        return errors.DeadlineExceeded()
    if isinstance(error, _UNAVAILABLE) or redis_errors.is_temporary(error):
        log.warning("refused: %s: %s", type(error).__name__, error)
        return errors.DependencyUnavailable("database or cache")
    error_id = new_id()
    log.error("unexpected", exc_info=error, extra={"fields": {"error_id": error_id}})
    return errors.Internal(error_id=error_id)


class CalleeError(errors.ServiceError):
    """An error that another service returned: it reaches the caller unchanged, unless a handler converts it."""

    def __init__(self, code: grpc.StatusCode, status: status_pb2.Status) -> None:
        """status: with a `google.rpc.ErrorInfo`."""
        Exception.__init__(self, status.message)
        info = detail(status, error_details_pb2.ErrorInfo)
        self.code, self.status = code, status
        self.reason, self.domain, self.metadata = info.reason, info.domain, dict(info.metadata)
        self.retry_after, self.fields = None, ()


def status_of_call(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The status of a failed call; empty when no service sent one."""
    sent = {name: value for name, value in error.trailing_metadata() if isinstance(value, bytes)}
    return status_pb2.Status.FromString(sent.get(DETAILS, b""))


def detail(status: status_pb2.Status, kind: type[D]) -> D:
    """The first detail of this kind; an empty one when there is none."""
    found = kind()
    any(packed.Unpack(found) for packed in status.details)
    return found


def code_of(error: errors.ServiceError) -> grpc.StatusCode:
    """The status code of an error: that of its nearest kind."""
    if isinstance(error, CalleeError):
        return error.code
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    raise TypeError(f"{type(error).__name__} is of no kind; see mesh/runtime/errors.py")


def status_of(
    error: errors.ServiceError, domain: str, names: Mapping[str, str] = MappingProxyType({})
) -> status_pb2.Status:
    """The status with all its details.

    domain: of the service, such as `todo.focusmesh`. names: what a REST caller calls the fields of the request.
    """
    if isinstance(error, CalleeError):
        return error.status
    fields = [
        error_details_pb2.BadRequest.FieldViolation(
            field=_renamed(violation.field, names),
            description=_renamed(violation.description, names),
            reason=violation.rule or error.reason,
        )
        for violation in error.fields
    ]
    message, metadata = str(error), _public(error.metadata)
    if fields:
        message = _renamed(message, names)
        metadata = {name: names.get(value, value) for name, value in metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=error.domain or domain, metadata=metadata)
    ]
    if fields:
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if isinstance(error, errors.FailedPrecondition):
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=error.reason, subject=_subject(error), description=str(error))
        details.append(failure)
    if isinstance(error, errors.NotFound):
        name, _, value = next(((n, "", v) for n, v in error.metadata.items()), ("", "", ""))
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=name.removesuffix("_id"), resource_name=value, description=str(error)
            )
        )
    if error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(max(1, round(error.retry_after * 1000)))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_of(error).value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort(
    context: grpc.aio.ServicerContext[object, object],
    error: errors.ServiceError,
    domain: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> NoReturn:
    """Ends the call with the error; by REST its trailing metadata are headers. names: as for `status_of`."""
    status = status_of(error, domain, names)
    trailing: list[tuple[str, str | bytes]] = [(DETAILS, status.SerializeToString())]
    if isinstance(error, errors.Unauthenticated):
        refused = isinstance(error, errors.TokenInvalid | errors.TokenRevoked)
        trailing.append(("www-authenticate", _CHALLENGE + _TOKEN_REFUSED * refused))
    await context.abort(code_of(error), status.message, trailing_metadata=tuple(trailing))
    raise AssertionError("abort returned")


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return _SNAKE_CASE.sub(lambda found: names.get(found[0], found[0]), text) if names else text


def _public(metadata: dict[str, str]) -> dict[str, str]:
    """The variables for machines; `summary` repeats what the field violations say."""
    return {name: value for name, value in metadata.items() if name != "summary"}


def _subject(error: errors.ServiceError) -> str:
    return next(iter(error.metadata.values()), "")
