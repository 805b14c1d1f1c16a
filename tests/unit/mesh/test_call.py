"""Whom a call is about."""

from typing import Any, cast

import pytest
from focusmesh.auth.v1.guest_service_pb2 import EndGuestRequest, EndGuestResponse
from focusmesh.auth.v1.preference_service_pb2 import GetUserPreferencesRequest
from focusmesh.todo.v1.task_service_pb2 import CreateTaskRequest, CreateTaskResponse

from mesh.events import shares
from mesh.events.outbox import SideEffects
from mesh.events.shares import ShareExhausted
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


def test_who_has_stored_too_much_is_refused_and_services_that_call_for_many_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_user_id: str, side_effects: SideEffects) -> None:
        if side_effects.response is not None:
            raise ShareExhausted(retry_after=10)

    monkeypatch.setattr(shares, "require_room", full)
    call = a_call(CreateTaskRequest(request_id="0198c0de-0000-7000-8000-00000000000f"))
    call.identity = NOBODY._replace(user_id=USER)
    with pytest.raises(ShareExhausted):
        call.side_effects(CreateTaskResponse())
    call = a_call(EndGuestRequest(user_id=OTHER, request_id="0198c0de-0000-7000-8000-00000000000f"))
    call.calling_service = "pomodoro"
    assert call.side_effects(EndGuestResponse()).response is not None


def test_outside_a_call_there_is_no_deadline() -> None:
    assert time_remaining() is None
