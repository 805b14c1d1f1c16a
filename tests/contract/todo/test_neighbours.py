"""A second user's calls while a first one sends the requests that cost most to refuse."""

from typing import Any

import grpc
import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb

from tests.contract.todo.todo_client import Todo
from tests.support.errors import refused
from tests.support.hostile_requests import hostile_requests, repeated_empty, wrong_message
from tests.support.neighbours import disturbance, send_repeatedly
from tests.support.tokens import Signer

BATCH = "/focusmesh.todo.v1.TaskService/BatchCreateTasks"
BATCH_REQUEST = pb.BatchCreateTasksRequest.DESCRIPTOR
(TASKS,) = [field for field in BATCH_REQUEST.fields if field.is_repeated]


async def test_half_a_million_empty_tasks_are_refused_by_the_name_of_their_list(
    channel: grpc.aio.Channel, signer: Signer
) -> None:
    metadata = (("authorization", f"Bearer {signer.token()}"),)
    with refused("INVALID_REQUEST") as error:
        await channel.unary_unary(BATCH)(repeated_empty(TASKS, 500_000), metadata=metadata, timeout=60)
    assert error.fields == [TASKS.name]
    assert "100" in error.message


@pytest.mark.parametrize("count", [10_000, 100_000, 500_000])
async def test_empty_tasks_of_one_user_do_not_disturb_another(
    todo: Todo, channel: grpc.aio.Channel, signer: Signer, count: int
) -> None:
    hostile = send_repeatedly(channel, BATCH, [repeated_empty(TASKS, count)], signer.token())
    (await disturbance(hostile, lambda: todo.ListTasks(timeout=60))).check()


async def test_nothing_that_one_user_sends_disturbs_another(
    todo: Todo, channel: grpc.aio.Channel, signer: Signer
) -> None:
    contents = [content for _, content in hostile_requests(BATCH_REQUEST, 1024 * 1024)]
    wrong: Any = wrong_message(BATCH_REQUEST)
    del wrong.requests[80:]  # the rest would be more than gRPC takes
    contents.append(wrong.SerializeToString())
    hostile = send_repeatedly(channel, BATCH, contents, signer.token())
    (await disturbance(hostile, lambda: todo.ListTasks(timeout=60))).check()
