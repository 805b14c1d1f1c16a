"""A second user's calls while the events of a first one are recorded."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import grpc
import pytest
from focusmesh.audit.v1 import audit_service_pb2 as pb
from focusmesh.audit.v1 import audit_service_pb2_grpc as rpc

from harness.waiting import until
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from tests.support.neighbours import disturbance
from tests.support.session_events import TOPIC, a_session_event, largest_session
from tests.support.task_events import a_task_event, publish
from tests.support.tokens import Signer

Running = Callable[[], AbstractAsyncContextManager[grpc.aio.Channel]]


@pytest.mark.parametrize("character", ["\n", "\x01"])
async def test_recording_the_largest_events_does_not_disturb_another_user(
    running: Running, signer: Signer, producer: Producer, character: str
) -> None:
    """Ten calls of BatchCreateTasks, each with 100 tasks whose descriptions are as long as they may be."""
    user = new_id()
    events = [a_task_event(user, description=character * 10_000) for _ in range(1000)]
    for first in range(0, 1000, 100):
        await publish(producer, "task-events", events[first : first + 100])
    await _check_neighbour(running, signer, user, count=1000)


async def test_recording_the_largest_sessions_does_not_disturb_another_user(
    running: Running, signer: Signer, producer: Producer
) -> None:
    user, largest = new_id(), largest_session()
    await publish(producer, TOPIC, [a_session_event(user, **largest) for _ in range(30)])
    await _check_neighbour(running, signer, user, count=30)


async def _check_neighbour(running: Running, signer: Signer, user: str, *, count: int) -> None:
    """Starts the service, and calls it as somebody else until so many events are recorded."""
    neighbour = new_id()
    async with running() as channel:
        audit = rpc.AuditServiceStub(channel)

        async def all_recorded() -> bool:
            metadata = (("authorization", f"Bearer {signer.token(sub=user)}"),)
            request = pb.VerifyAuditRecordsRequest(from_position=count - 10)
            try:
                return bool((await audit.VerifyAuditRecords(request, metadata=metadata)).records_checked == 11)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:  # the chain is shorter yet
                    raise
                return False

        async def neighbours_call() -> None:
            metadata = (("authorization", f"Bearer {signer.token(sub=neighbour)}"),)
            await audit.ListAuditRecords(pb.ListAuditRecordsRequest(), metadata=metadata)

        seen = await disturbance(until(all_recorded, "everything is recorded", 60), neighbours_call)
    seen.check()
