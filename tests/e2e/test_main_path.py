"""The main journey, on the whole stack: register, create a task, find it in the audit log and on the WebSocket."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from focusmesh.audit.v1 import audit_service_pb2
from focusmesh.auth.v1 import session_service_pb2, user_service_pb2
from focusmesh.todo.v1 import task_pb2, task_service_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from websockets.asyncio.client import ClientConnection, connect

from harness.clients import Client, Grpc, GrpcWeb, Rest
from harness.rpcs import BY_NAME
from harness.waiting import until
from mesh.runtime.ids import new_id
from stack.stack import Stack

PASSWORD = "correct horse battery"
GROCERIES = {
    "title": "Buy groceries",
    "description": "Milk, bread, eggs",
    "due_time": Timestamp(seconds=int(datetime(2026, 2, 9, 18, tzinfo=UTC).timestamp())),
    "reminder_time": Timestamp(seconds=int(datetime(2026, 2, 9, 12, tzinfo=UTC).timestamp())),
}
SNAPSHOT = {
    "title": "Buy groceries",
    "description": "Milk, bread, eggs",
    "status": "pending",
    "due_date": "2026-02-09T18:00:00Z",
    "reminder_time": "2026-02-09T12:00:00Z",
    "is_recurring": False,
    "recurrence_schedule": None,
    "estimated_pomodoros": None,
    "recurrence": None,
    "time_zone": None,
    "repeat_from": None,
    "series_id": None,
    "slot": None,
    "reminder_offsets": [],
    "completed_at": None,
    "deleted_at": None,
}


@dataclass
class Person:
    """A registered user who calls the gateway in one way."""

    client: Client
    token: str
    refresh_token: str

    def ask(self, method: str, request: Message) -> Any:
        """The response to a call; fails when the call does."""
        result = self.client.call(BY_NAME[method], request, self.token)
        assert result.ok, result
        return result.response


@pytest.fixture(params=["rest", "grpc", "grpc-web", "grpc-web-text"])
def person(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Person]:
    """Somebody new, by each of the ways to call."""
    url = stack.gateway_url
    made: dict[str, Rest | Grpc | GrpcWeb] = {
        "rest": Rest(url),
        "grpc": Grpc(stack.gateway_target),
        "grpc-web": GrpcWeb(url),
        "grpc-web-text": GrpcWeb(url, text=True),
    }
    client = made[request.param]
    email = f"{new_id()}@example.org"
    registered = client.call(
        BY_NAME["Register"], user_service_pb2.RegisterRequest(email=email, password=PASSWORD, name="Ada")
    )
    assert registered.ok, registered
    signed_in = client.call(BY_NAME["Login"], session_service_pb2.LoginRequest(email=email, password=PASSWORD))
    assert isinstance(signed_in.response, session_service_pb2.LoginResponse), signed_in
    yield Person(client, signed_in.response.tokens.access_token, signed_in.response.tokens.refresh_token)
    for each in made.values():
        each.close()


async def next_change(frames: ClientConnection) -> dict[str, Any]:
    """The next event on the WebSocket; heartbeats and the like are passed over."""
    async for text in frames:
        frame: dict[str, Any] = json.loads(text)
        if "change" in frame:
            change: dict[str, Any] = frame["change"]
            return change
    raise AssertionError("the WebSocket closed")


async def test_a_task_arrives_once_in_the_audit_log_and_at_once_on_the_websocket(stack: Stack, person: Person) -> None:
    url = stack.gateway_url.replace("http", "ws", 1) + "/v1/realtime"
    async with connect(url, additional_headers={"authorization": f"Bearer {person.token}"}) as frames:
        assert "opened" in json.loads(await frames.recv())
        task = person.ask("CreateTask", task_service_pb2.CreateTaskRequest(**GROCERIES)).task
        assert task.state == task_pb2.TASK_STATE_PENDING
        change = await next_change(frames)
        assert (change["eventType"], change["subjectId"], change["version"]) == ("task-created", task.id, 1)
        assert change["payload"] == SNAPSHOT

        done = person.ask("CompleteTask", task_service_pb2.CompleteTaskRequest(task_id=task.id)).task
        assert done.state == task_pb2.TASK_STATE_COMPLETE
        assert (await next_change(frames))["eventType"] == "task-completed"

    def recorded() -> list[Any]:
        listed = person.ask("ListAuditRecords", audit_service_pb2.ListAuditRecordsRequest(task_id=task.id))
        return list(listed.audit_records)

    await until(lambda: len(recorded()) >= 2, "both events are in the audit log")
    completed, created = recorded()
    assert (created.event_type, completed.event_type) == ("task-created", "task-completed")
    assert dict(created.payload)["event_id"] == created.event_id == change["eventId"]
    assert dict(dict(created.payload)["payload"]) == SNAPSHOT
    assert created.source_service == "todo"
    verified = person.ask("VerifyAuditRecords", audit_service_pb2.VerifyAuditRecordsRequest())
    assert (verified.intact, verified.records_checked) == (True, 2)


async def test_a_websocket_closes_and_the_token_is_refused_soon_after_logout(stack: Stack, person: Person) -> None:
    url = stack.gateway_url.replace("http", "ws", 1) + "/v1/realtime"
    subprotocols = ["focusmesh.v1", f"bearer.{person.token}"]
    async with connect(url, subprotocols=subprotocols) as frames:  # type: ignore[arg-type]  # a NewType of str
        assert frames.subprotocol == "focusmesh.v1"
        await frames.recv()
        person.ask("Logout", session_service_pb2.LogoutRequest(refresh_token=person.refresh_token))
        await until(lambda: frames.close_code is not None, "the WebSocket is closed", seconds=2)
    request = task_service_pb2.ListTasksRequest()
    refused = person.client.call(BY_NAME["ListTasks"], request, person.token)
    assert (refused.code, refused.reason) == (16, "TOKEN_REVOKED")
