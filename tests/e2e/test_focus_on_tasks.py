"""What is worked on a task in a focus session, through every service that hears of it."""

import json
from typing import Any

import pytest
from focusmesh.audit.v1 import audit_record_pb2, audit_service_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as focus_pb
from focusmesh.todo.v1 import task_service_pb2
from websockets.asyncio.client import connect

from harness.clients import Rest
from harness.owners import Account
from harness.waiting import until
from stack.stack import Stack


@pytest.fixture
def account(stack: Stack) -> Account:
    """Somebody new."""
    return Account(Rest(stack.gateway_url))


async def test_focus_counts_to_the_task_and_is_recorded_and_streamed(stack: Stack, account: Account) -> None:
    task = account.task()
    new = focus_pb.NewSessionTask(title="Write", todo_task_id=task.id)
    create = focus_pb.CreateFocusSessionRequest(start=True, tasks=[new])
    session = account.call("CreateFocusSession", create).focus_session

    def worked() -> bool:
        read = focus_pb.GetFocusSessionRequest(focus_session_id=session.id)
        return bool(account.call("GetFocusSession", read).focus_session.total_focused_seconds)

    await until(worked, "a second is worked")
    url = stack.gateway_url.replace("http", "ws", 1) + "/v1/realtime"
    async with connect(url, additional_headers={"authorization": f"Bearer {account.token}"}) as frames:
        assert "opened" in json.loads(await frames.recv())
        finish = focus_pb.FinishFocusSessionRequest(focus_session_id=session.id)
        finished = account.call("FinishFocusSession", finish).focus_session
        change: dict[str, Any] = {}
        while change.get("eventType") != "session-finished":
            change = json.loads(await frames.recv()).get("change", {})
    assert change["subjectId"] == session.id
    seconds = finished.tasks[0].focused_seconds
    assert change["payload"]["tasks"][0]["focused_seconds"] == seconds > 0

    def shown() -> Any:
        return account.call("GetTask", task_service_pb2.GetTaskRequest(task_id=task.id)).task

    await until(lambda: shown().focus_seconds == seconds, "the task shows what was worked")
    assert (shown().etag, shown().pomodoros) == (task.etag, 0)

    def recorded() -> list[Any]:
        request = audit_service_pb2.ListAuditRecordsRequest(subject_id=session.id)
        return list(account.call("ListAuditRecords", request).audit_records)

    await until(lambda: len(recorded()) == 2, "both events are in the audit log")
    assert [record.event_type for record in recorded()] == ["session-finished", "session-started"]
    assert {record.subject_type for record in recorded()} == {audit_record_pb2.SUBJECT_TYPE_FOCUS_SESSION}
    delete = focus_pb.DeleteFocusSessionRequest(focus_session_id=session.id)
    account.call("DeleteFocusSession", delete)
    await until(lambda: shown().focus_seconds == 0, "a deleted session does not count")
