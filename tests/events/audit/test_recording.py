"""From the broker to the audit log."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import grpc
import pytest
from focusmesh.audit.v1 import audit_service_pb2 as pb
from focusmesh.audit.v1 import audit_service_pb2_grpc as rpc
from focusmesh.audit.v1.audit_record_pb2 import (
    SUBJECT_TYPE_ARCHIVED_SESSION,
    SUBJECT_TYPE_FOCUS_SESSION,
    AuditRecord,
)
from google.protobuf.json_format import MessageToDict

from harness.waiting import until
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from tests.support.session_events import HISTORY_TOPIC, a_correction, a_session_event
from tests.support.session_events import TOPIC as SESSION_EVENTS
from tests.support.task_events import a_task_event, publish
from tests.support.tokens import Signer

TOPIC = "task-events"
Running = Callable[[], AbstractAsyncContextManager[grpc.aio.Channel]]
Log = Callable[[grpc.aio.Channel, str], Awaitable[list[AuditRecord]]]


@pytest.fixture
def log(signer: Signer) -> Log:
    """Reads a user's whole log, oldest first, after the service said that the chain is whole."""

    async def read(channel: grpc.aio.Channel, user_id: str) -> list[AuditRecord]:
        audit = rpc.AuditServiceStub(channel)
        metadata = (("authorization", f"Bearer {signer.token(sub=user_id)}"),)
        found: list[AuditRecord] = []
        token = ""
        while token or not found:
            page = await audit.ListAuditRecords(
                pb.ListAuditRecordsRequest(page_size=200, page_token=token), metadata=metadata
            )
            found += page.audit_records
            token = page.next_page_token
            if not page.audit_records:
                break
        verified = await audit.VerifyAuditRecords(pb.VerifyAuditRecordsRequest(), metadata=metadata)
        assert verified.intact
        return found[::-1]

    return read


async def test_what_happens_to_a_task_is_recorded_as_it_was_published(
    running: Running, log: Log, producer: Producer
) -> None:
    user, task = new_id(), new_id()
    published = [
        a_task_event(user, task_id=task, title="Buy groceries", due_date=None),
        a_task_event(user, task_id=task, version=2, kind="task-completed", title="Buy groceries", due_date=None),
    ]
    async with running() as channel:
        await publish(producer, TOPIC, published)
        await until(lambda: _has(log, channel, user, 2), "both events are recorded")
        records = await log(channel, user)
    assert [(record.event_id, record.event_type) for record in records] == [
        (event.id, event.type) for event in published
    ]
    assert {record.source_service for record in records} == {"todo"}
    payload = MessageToDict(records[0].payload)
    assert payload.pop("timestamp").endswith("Z")
    assert payload == {
        "event_id": published[0].id,
        "event_type": "task-created",
        "task_id": task,
        "schema_version": "1.0",
        "payload": published[0].payload,
    }


async def test_what_happens_to_a_focus_session_is_recorded_beside_the_tasks(
    running: Running, log: Log, producer: Producer
) -> None:
    user = new_id()
    task, session = a_task_event(user, title="Buy groceries"), a_session_event(user, status="running")
    correction = a_correction(user, session_id=session.subject, status="finished")
    async with running() as channel:
        await publish(producer, TOPIC, [task])
        await publish(producer, SESSION_EVENTS, [session, session])
        await publish(producer, HISTORY_TOPIC, [correction])
        await until(lambda: _has(log, channel, user, 3), "all events are recorded")
        records = {record.event_id: record for record in await log(channel, user)}
    assert set(records) == {task.id, session.id, correction.id}
    corrected = records[correction.id]
    assert (corrected.subject_type, corrected.task_id) == (SUBJECT_TYPE_ARCHIVED_SESSION, session.subject)
    recorded = records[session.id]
    assert (recorded.subject_type, recorded.task_id) == (SUBJECT_TYPE_FOCUS_SESSION, session.subject)
    assert MessageToDict(recorded.payload)["session_id"] == session.subject


async def test_every_event_is_recorded_once_and_in_order_whatever_is_delivered_twice(
    running: Running, log: Log, producer: Producer
) -> None:
    rng = random.Random(20261122)  # noqa: S311 (not a secret)
    users = [new_id() for _ in range(5)]
    events = {user: [a_task_event(user, text="x" * 100) for _ in range(120)] for user in users}

    async def publish_all() -> None:
        for first in range(0, 120, 20):
            for user in users:
                batch = events[user][first : first + 20]
                again = rng.sample(events[user][:first], min(first, 5))
                await publish(producer, TOPIC, [*batch, *again, *batch])

    publishing = asyncio.create_task(publish_all())
    for _ in range(2):  # the service goes away twice while events come
        async with running() as channel:
            await until(lambda: _has(log, channel, users[0], 1), "something is recorded")
    await publishing
    async with running() as channel:
        for user in users:
            await until(lambda user=user: _has(log, channel, user, 120), "everything is recorded")  # type: ignore[misc]
            recorded = [record.event_id for record in await log(channel, user)]
            assert recorded == [event.id for event in events[user]]


async def test_replicas_share_the_work(running: Running, log: Log, producer: Producer) -> None:
    users = [new_id() for _ in range(12)]
    async with running() as one, running() as other:
        for _ in range(5):
            await publish(producer, TOPIC, [a_task_event(user) for user in users])
        for user in users:
            await until(lambda user=user: _has(log, one, user, 5), "everything is recorded")  # type: ignore[misc]
            assert await log(one, user) == await log(other, user)


async def _has(log: Log, channel: grpc.aio.Channel, user: str, count: int) -> bool:
    return len(await log(channel, user)) >= count
