"""Errors become gRPC statuses with their details."""

from typing import Any, cast

import grpc
import psycopg
import pytest
import redis
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from mesh.rpc.status import STATUS, CalleeError, abort, code_of, status_of, to_service_error
from mesh.runtime import errors
from mesh.runtime.errors import FieldViolation
from services.auth.errors import CredentialsWrong
from services.todo.errors import TaskAlreadyComplete, TaskNotFound


def detail(status: status_pb2.Status, kind: type[Message]) -> Message:
    """The one detail of this type."""
    (found,) = [packed for packed in status.details if packed.Is(kind.DESCRIPTOR)]
    message = kind()
    found.Unpack(message)
    return message


def test_an_error_carries_reason_domain_and_every_variable_of_its_message() -> None:
    status = status_of(TaskNotFound(task_id="t1"), "todo.focusmesh")
    assert status.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert status.message == "There is no task t1."
    info = detail(status, details.ErrorInfo)
    assert info == details.ErrorInfo(reason="TASK_NOT_FOUND", domain="todo.focusmesh", metadata={"task_id": "t1"})
    assert detail(status, details.ResourceInfo).resource_type == "task"


def test_a_wrong_state_names_its_precondition() -> None:
    status = status_of(TaskAlreadyComplete(task_id="t1"), "todo.focusmesh")
    (violation,) = detail(status, details.PreconditionFailure).violations
    assert (violation.type, violation.subject) == ("TASK_ALREADY_COMPLETE", "t1")


def test_a_to_service_error_the_platform_keeps_the_platforms_domain() -> None:
    status = status_of(errors.DependencyUnavailable("database"), "todo.focusmesh")
    assert detail(status, details.ErrorInfo).domain == "focusmesh"
    assert detail(status, details.RetryInfo).retry_delay.seconds == 1


def test_every_broken_field_is_named() -> None:
    broken = FieldViolation("tasks[1].title", "too long", "string.max_len")
    error = errors.InvalidRequest(fields=[broken], summary="s")
    (violation,) = detail(status_of(error, ""), details.BadRequest).field_violations
    assert (violation.field, violation.description, violation.reason) == tuple(broken)


def test_a_rest_caller_is_told_of_fields_by_their_names_in_json() -> None:
    names = {"due_time": "dueTime", "due_from": "dueFrom", "update_mask": "updateMask"}
    broken = FieldViolation("tasks[1].due_time", "must be after due_from, not Europe/old_town", "rule.due_time")
    status = status_of(errors.InvalidRequest(fields=[broken], summary="due_time: x"), "", names)
    (violation,) = detail(status, details.BadRequest).field_violations
    assert (violation.field, violation.reason) == ("tasks[1].dueTime", "rule.due_time")
    assert violation.description == "must be after dueFrom, not Europe/old_town"
    assert status.message == "dueTime: x"
    masked = status_of(errors.FieldNotInMask("due_time"), "", names)
    assert masked.message == "The field dueTime is set and not named in updateMask. Name it, or leave it out."
    assert detail(masked, details.ErrorInfo).metadata == {"field": "dueTime"}


@pytest.mark.parametrize("error", [errors.PageTokenInvalid(), errors.FieldNotInMask("title")])
def test_every_violation_names_its_rule(error: errors.ServiceError) -> None:
    (violation,) = detail(status_of(error, ""), details.BadRequest).field_violations
    assert violation.reason


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (errors.TokenMissing(), 'Bearer realm="focusmesh"'),
        (errors.TokenRevoked(), 'Bearer realm="focusmesh", error="invalid_token"'),
        (errors.TokenInvalid(), 'Bearer realm="focusmesh", error="invalid_token"'),
        (CredentialsWrong(), 'Bearer realm="focusmesh"'),
        (errors.AudienceWrong(), None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whoever_is_not_identified_learns_how_to_be(error: errors.ServiceError, challenge: str | None) -> None:
    context = AbortedContext()
    with pytest.raises(grpc.aio.AbortError):
        await abort(cast(Any, context), error, "")
    assert context.trailing.get("www-authenticate") == challenge


class AbortedContext:
    """Keeps what a call ended with."""

    trailing: dict[str, Any]

    async def abort(self, _code: object, _details: str, *, trailing_metadata: tuple[tuple[str, Any], ...]) -> None:
        self.trailing = dict(trailing_metadata)
        raise grpc.aio.AbortError


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (psycopg.OperationalError("server closed the connection"), grpc.StatusCode.UNAVAILABLE),
        (psycopg.errors.ReadOnlySqlTransaction("demoted"), grpc.StatusCode.UNAVAILABLE),
        (psycopg.errors.QueryCanceled("statement timeout"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (TimeoutError(), grpc.StatusCode.DEADLINE_EXCEEDED),
        (redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"), grpc.StatusCode.UNAVAILABLE),
        (redis.ReadOnlyError("You can't write against a read only replica"), grpc.StatusCode.UNAVAILABLE),
        (redis.BusyLoadingError("is loading the dataset in memory"), grpc.StatusCode.UNAVAILABLE),
        (redis.exceptions.TryAgainError("multiple keys request during rehashing of slot"), grpc.StatusCode.UNAVAILABLE),
        (redis.exceptions.MasterDownError("link with MASTER is down"), grpc.StatusCode.UNAVAILABLE),
        (redis.ResponseError("MISCONF cannot persist on disk"), grpc.StatusCode.UNAVAILABLE),
        (redis.ResponseError("NOREPLICAS not enough good replicas"), grpc.StatusCode.UNAVAILABLE),
        (redis.ResponseError("BUSY running a script"), grpc.StatusCode.UNAVAILABLE),
        (redis.ResponseError("WRONGTYPE of a key"), grpc.StatusCode.INTERNAL),
        (RuntimeError("password=hunter2"), grpc.StatusCode.INTERNAL),
        (KeyError("x"), grpc.StatusCode.INTERNAL),
    ],
)
def test_an_unexpected_error_shows_nothing_of_itself(raised: Exception, code: grpc.StatusCode) -> None:
    error = to_service_error(raised)
    assert code_of(error) is code
    assert str(raised) not in str(status_of(error, "todo.focusmesh")) or not str(raised)
    assert (error.retry_after is not None) is (code is grpc.StatusCode.UNAVAILABLE)


def test_every_kind_has_a_status() -> None:
    kinds = set(errors.ServiceError.__subclasses__()) - {CalleeError}  # has the one that it came with
    assert kinds == set(STATUS)


def test_an_error_of_another_service_is_passed_on_whole() -> None:
    sent = status_of(TaskNotFound(task_id="t1"), "todo.focusmesh")
    passed_on = to_service_error(CalleeError(grpc.StatusCode.NOT_FOUND, sent))
    assert code_of(passed_on) is grpc.StatusCode.NOT_FOUND
    assert status_of(passed_on, "pomodoro.focusmesh") == sent
    assert (passed_on.reason, passed_on.domain, str(passed_on)) == ("TASK_NOT_FOUND", "todo.focusmesh", sent.message)
    assert passed_on.metadata == {"task_id": "t1"}
