"""Which calls are the same, and which failed ones may have a stored response."""

from typing import Any, cast

import pytest
from focusmesh.auth.v1 import user_service_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb

from mesh.events.shares import ShareExhausted
from mesh.rpc.call import CallContext
from mesh.rpc.idempotency import NOBODY, fingerprint, may_be_replay, stored_response
from mesh.rpc.identity import NOBODY as NO_IDENTITY
from mesh.rpc.interceptor import _response_loader
from mesh.runtime import errors
from mesh.runtime.ids import new_id
from services.auth.errors import TooManyAttempts
from services.notification.errors import TooManyReminders
from services.todo.errors import TaskAlreadyComplete, TaskNotFound

REQUEST_ID = new_id()


def test_requests_are_the_same_when_every_field_is() -> None:
    first = pb.CreateTaskRequest(request_id=REQUEST_ID, title="x")
    assert fingerprint(first) == fingerprint(pb.CreateTaskRequest(title="x", request_id=REQUEST_ID))
    assert fingerprint(first) != fingerprint(pb.CreateTaskRequest(title="y", request_id=REQUEST_ID))
    assert fingerprint(first) != fingerprint(pb.CreateTaskRequest(title="x", description="", request_id=REQUEST_ID))


def test_secrets_leave_no_fingerprint() -> None:
    requests = [
        user_service_pb2.RegisterRequest(request_id=REQUEST_ID, email="a@example.org", password=password)
        for password in ("correct horse battery", "another")
    ]
    assert fingerprint(requests[0]) == fingerprint(requests[1])
    assert requests[0].password == "correct horse battery"


def test_a_response_is_stored_for_the_caller_and_the_method_only_when_the_request_has_an_id() -> None:
    response = pb.CreateTaskResponse()
    assert stored_response("ada", "m", pb.CreateTaskRequest(title="x"), response) is None
    stored = stored_response("ada", "m", pb.CreateTaskRequest(title="x", request_id=REQUEST_ID), response)
    assert stored is not None
    assert stored[:3] == ("ada", "m", REQUEST_ID)
    public = stored_response("", "m", pb.CreateTaskRequest(title="x", request_id=REQUEST_ID), response)
    assert public is not None
    assert public.user_id == NOBODY


@pytest.mark.parametrize(
    ("failed", "asked"),
    [
        (TaskAlreadyComplete(task_id="t"), True),
        (TaskNotFound(task_id="t"), True),
        (errors.VersionConflict(etag="v2"), True),
        (ShareExhausted(retry_after=10), True),
        (TooManyReminders(limit=10), True),
        (TooManyAttempts(retry_after=1), False),
        (errors.Overloaded(), False),
        (errors.DependencyUnavailable("database"), False),
        (RuntimeError(), False),
    ],
)
def test_a_failure_that_the_first_call_may_have_caused_asks_for_its_response_and_overload_never_does(
    failed: Exception, asked: bool
) -> None:
    assert may_be_replay(failed) is asked


class AskedError(Exception):
    """The database was asked."""


class Database:
    """Is asked for nothing."""

    def connection(self) -> None:
        raise AskedError


async def test_the_database_is_not_asked_for_the_response_to_a_guest() -> None:
    method = pb.DESCRIPTOR.services_by_name["TaskService"].methods_by_name["CreateTask"]
    load = _response_loader(method, cast(Any, Database()))
    call = CallContext("m", {}, "", pb.CreateTaskRequest(request_id=REQUEST_ID), cast(Any, None))
    failed = TaskNotFound(task_id="t")
    call.identity = NO_IDENTITY._replace(user_id=new_id())
    with pytest.raises(AskedError):
        await load(call, failed)
    call.identity = call.identity._replace(guest_until=2_000_000_000)
    assert await load(call, failed) is None
