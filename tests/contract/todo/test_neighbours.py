"""A second user's calls while a first one sends the requests that cost most to refuse."""

from contextlib import suppress
from typing import Any

import grpc
import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.type.v1 import recurrence_pb2 as recurrence

from harness.awkward_requests import awkward_requests
from harness.hostile_requests import hostile_requests, repeated_empty, wrong_message
from harness.rpcs import BY_NAME
from tests.contract.todo.todo_client import Todo
from tests.support.errors import refused
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


@pytest.mark.alone
async def test_the_largest_batches_that_are_allowed_do_not_disturb_another_user(
    todo: Todo, channel: grpc.aio.Channel, signer: Signer
) -> None:
    metadata = (("authorization", f"Bearer {signer.token()}"),)
    contents = [request.SerializeToString() for _, request in awkward_requests(BY_NAME["BatchCreateTasks"], {})]

    async def work() -> None:
        for content in contents:
            with suppress(grpc.aio.AioRpcError):  # a rule of the service may refuse it after all
                await channel.unary_unary(BATCH)(content, metadata=metadata, timeout=60)

    another = todo.another_user()
    (await disturbance(work(), lambda: another.ListTasks(timeout=60))).check()


@pytest.mark.alone
async def test_the_costliest_recurring_tasks_of_one_user_do_not_disturb_another(todo: Todo) -> None:
    days = [recurrence.RecurrenceDay(weekday=1 + index % 7, ordinal=index // 7 - 4) for index in range(60)]  # type: ignore[arg-type]
    longest = recurrence.Recurrence(
        frequency=recurrence.FREQUENCY_YEARLY,
        by_day=days,
        by_month_day=[day for day in range(-31, 32) if day],
        by_month=range(1, 13),
        by_set_pos=range(1, 21),
    )
    rarest = [  # 29 February on a Monday: every 28 years, and another rule each time
        recurrence.Recurrence(
            frequency=recurrence.FREQUENCY_DAILY,
            by_day=[recurrence.RecurrenceDay(weekday=recurrence.WEEKDAY_MONDAY)],
            by_month_day=[29],
            by_month=[2],
            week_start=1 + index % 7,  # type: ignore[arg-type]
            count=1 + index % 10,
        )
        for index in range(70)
    ]
    rules = [*rarest, *[longest] * 30]
    new = [pb.CreateTaskRequest(title="x", recurrence=rule, time_zone="Europe/Berlin") for rule in rules]

    async def work() -> None:
        for _ in range(4):
            await todo.BatchCreateTasks(requests=new, timeout=60)
            await todo.ListTasks(page_size=200, timeout=60)

    another = todo.another_user()
    (await disturbance(work(), lambda: another.ListTasks(timeout=60))).check()
