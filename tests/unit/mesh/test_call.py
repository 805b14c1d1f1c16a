"""Whom a call is about."""

from typing import Any, cast

from focusmesh.auth.v1.preference_service_pb2 import GetUserPreferencesRequest
from focusmesh.todo.v1.task_service_pb2 import CreateTaskRequest, CreateTaskResponse

from mesh.rpc.call import CallContext, time_remaining
from mesh.rpc.identity import NOBODY

USER = "0198c0de-0000-7000-8000-000000000001"
OTHER = "0198c0de-0000-7000-8000-000000000002"


def a_call(request: Any) -> CallContext:
    return CallContext("package.Service/Method", {}, "", request, cast(Any, None))


def test_a_users_call_is_about_its_caller_whatever_the_request_says() -> None:
    call = a_call(GetUserPreferencesRequest(user_id=OTHER))
    call.identity = NOBODY._replace(user_id=USER)
    assert call.user_id == USER


def test_a_services_call_is_about_the_user_that_its_request_names() -> None:
    call = a_call(GetUserPreferencesRequest(user_id=OTHER))
    call.calling_service = "pomodoro"
    assert call.user_id == OTHER


def test_a_response_is_stored_for_the_caller() -> None:
    call = a_call(CreateTaskRequest(request_id="0198c0de-0000-7000-8000-00000000000f"))
    call.identity = NOBODY._replace(user_id=USER)
    stored = call.side_effects(CreateTaskResponse()).response
    assert stored is not None
    assert stored.user_id == USER


def test_outside_a_call_there_is_no_deadline() -> None:
    assert time_remaining() is None
