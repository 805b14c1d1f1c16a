"""The one table from kinds of refusal to gRPC statuses, and the `google.rpc` details that go with them."""

import logging
from typing import NoReturn, TypeVar

import grpc
import psycopg
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from psycopg_pool import PoolTimeout
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mesh.runtime import errors
from mesh.runtime.ids import new_id

log = logging.getLogger(__name__)

_DETAILS = "grpc-status-details-bin"
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

_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    PoolTimeout,
    RedisConnectionError,
    RedisTimeoutError,
)


def to_service_error(error: Exception) -> errors.ServiceError:
    """What the caller is told of an exception. Parts that are away are UNAVAILABLE; the unknown says nothing."""
    if isinstance(error, errors.ServiceError):
        if isinstance(error, errors.DependencyUnavailable):
            log.warning("refused: %s is away", error.part)
        return error
    if isinstance(error, psycopg.errors.QueryCanceled | TimeoutError):
        return errors.DeadlineExceeded()
    if isinstance(error, _AWAY):
        log.warning("refused: %s: %s", type(error).__name__, error)
        return errors.DependencyUnavailable("database or cache")
    error_id = new_id()
    log.error("unexpected", exc_info=error, extra={"fields": {"error_id": error_id}})
    return errors.Internal(error_id=error_id)


class CalleeError(errors.ServiceError):
    """An error that another service declares: it reaches the caller as it is, unless a handler makes its own of it."""

    def __init__(self, code: grpc.StatusCode, status: status_pb2.Status) -> None:
        """status: has a `google.rpc.ErrorInfo`."""
        Exception.__init__(self, status.message)
        info = detail(status, error_details_pb2.ErrorInfo)
        self.code, self.status = code, status
        self.reason, self.domain, self.metadata = info.reason, info.domain, dict(info.metadata)
        self.retry_after, self.fields = None, ()


def status_of_call(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The status that a failed call came back with; empty when no service sent one."""
    sent = {name: value for name, value in error.trailing_metadata() if isinstance(value, bytes)}
    return status_pb2.Status.FromString(sent.get(_DETAILS, b""))


def detail(status: status_pb2.Status, kind: type[D]) -> D:
    """The first detail of this kind; an empty one when there is none."""
    found = kind()
    any(packed.Unpack(found) for packed in status.details)
    return found


def code_of(refusal: errors.ServiceError) -> grpc.StatusCode:
    """The status of a refusal: that of the nearest kind it is one of."""
    if isinstance(refusal, CalleeError):
        return refusal.code
    for kind in type(refusal).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    raise TypeError(f"{type(refusal).__name__} is of no kind of refusal; see mesh/runtime/errors.py")


def status_of(refusal: errors.ServiceError, domain: str) -> status_pb2.Status:
    """The whole error. domain: of the service, such as `todo.focusmesh`."""
    if isinstance(refusal, CalleeError):
        return refusal.status
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain=refusal.domain or domain, metadata=_public(refusal.metadata)
        )
    ]
    if refusal.fields:
        violations = error_details_pb2.BadRequest()
        for violation in refusal.fields:
            violations.field_violations.add(
                field=violation.field, description=violation.description, reason=violation.rule
            )
        details.append(violations)
    if isinstance(refusal, errors.FailedPrecondition):
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=refusal.reason, subject=_subject(refusal), description=str(refusal))
        details.append(failure)
    if isinstance(refusal, errors.NotFound):
        name, _, value = next(((n, "", v) for n, v in refusal.metadata.items()), ("", "", ""))
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=name.removesuffix("_id"), resource_name=value, description=str(refusal)
            )
        )
    if refusal.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(max(1, round(refusal.retry_after * 1000)))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_of(refusal).value[0], message=str(refusal))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort(
    context: grpc.aio.ServicerContext[object, object], refusal: errors.ServiceError, domain: str
) -> NoReturn:
    """Ends the call with the refusal."""
    status = status_of(refusal, domain)
    await context.abort(
        code_of(refusal),
        status.message,
        trailing_metadata=((_DETAILS, status.SerializeToString()),),
    )
    raise AssertionError("abort returned")


def _public(metadata: dict[str, str]) -> dict[str, str]:
    """The variables for machines; `summary` repeats what the field violations say."""
    return {name: value for name, value in metadata.items() if name != "summary"}


def _subject(refusal: errors.ServiceError) -> str:
    return next(iter(refusal.metadata.values()), "")
