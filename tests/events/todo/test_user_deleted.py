"""From `user-deleted` on the broker to an empty list."""

import grpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc

from harness.waiting import until
from mesh.events.producer import Producer
from tests.support.task_events import publish
from tests.support.tokens import Signer
from tests.support.user_events import TOPIC, a_user_event
from tests.support.user_stub import UserStub


async def test_the_tasks_of_a_deleted_user_are_erased_and_no_others(
    channel: grpc.aio.Channel, producer: Producer, signer: Signer
) -> None:
    deleted = UserStub(rpc.TaskServiceStub(channel), pb, signer)
    other = deleted.another_user()
    for user in (deleted, other):
        await user.CreateTask(title="First")

    await publish(producer, TOPIC, [a_user_event(other.user_id, "user-updated"), a_user_event(deleted.user_id)])

    async def erased() -> bool:
        return not (await deleted.ListTasks()).tasks

    await until(erased, "the tasks are erased")
    assert len((await other.ListTasks()).tasks) == 1
