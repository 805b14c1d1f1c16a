"""Recurrence dies between the event and the next instance, todo while it is asked: one next instance, always."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from focusmesh.todo.v1.task_instance_service_pb2_grpc import TaskInstanceServiceStub

from harness.waiting import until
from mesh.database.pool import Database
from mesh.rpc.client import ServiceClient
from mesh.rpc.service_identity import ServiceSigner
from mesh.runtime.settings import ServiceSettings
from mesh.runtime.signing_keys import private_key
from services.recurrence.jobs import InstancePlanner
from services.todo import main as todo
from services.todo.settings import Settings as TodoSettings
from stack.keys import Keys
from tests.contract.recurrence.world import HOUR, Carrier, Person, ahead, complete, slot
from tests.support.serving import SignerKeys, serving, without_broker
from tests.support.tokens import Signer


class Dying:
    """Todo as a replica sees it that dies before the call leaves, or before its answer arrives."""

    def __init__(self, call: Callable[..., Awaitable[Any]], *, reaches: bool) -> None:
        self._call, self._reaches = call, reaches

    async def ApplyInstance(self, request: Any, timeout: float) -> Any:
        if self._reaches:
            await self._call(request, timeout=timeout)
        raise asyncio.CancelledError


async def leases_are_over(db: Database) -> None:
    async with db.connection() as connection:
        await connection.execute("UPDATE plans SET due_at = now()")


@pytest.mark.parametrize("reaches", [False, True], ids=["before todo", "after todo"])
async def test_a_replica_that_dies_while_it_asks_todo_leaves_one_next_instance(
    todo_channel: grpc.aio.Channel,
    idle: grpc.aio.Channel,
    instances: TaskInstanceServiceStub,
    signer: Signer,
    db: Database,
    carrier: Carrier,
    reaches: bool,
) -> None:
    person, due = Person(todo_channel, idle, signer, db), ahead(HOUR)
    carrying = asyncio.create_task(carrier.run())
    task = await person.recurring(due)
    await complete(person, task)
    await until(lambda: person.log(task.series_id), "the completion is logged")
    for _ in range(3):  # one replica after the other
        dying = InstancePlanner(db, Dying(instances.ApplyInstance, reaches=reaches))  # type: ignore[arg-type]
        with pytest.raises(asyncio.CancelledError):
            await dying.run_once()
        assert await dying.run_once() == 0  # the plan is still its own
        await leases_are_over(db)
    assert await InstancePlanner(db, instances).run_once() == 1
    [second] = await person.settled([slot(due, 1)])
    assert len((await person.todo.ListTasks(show_deleted=True)).tasks) == 2
    assert second.series_id == task.series_id
    carrying.cancel()
    await asyncio.gather(carrying, return_exceptions=True)


async def test_todo_that_is_away_is_asked_until_it_is_back(
    todo_settings: ServiceSettings, idle: grpc.aio.Channel, keys: Keys, signer: Signer, db: Database, carrier: Carrier
) -> None:
    due = ahead(HOUR)
    key = private_key(keys.service_key("recurrence").read_bytes())
    client = ServiceClient("todo", todo_settings.listen, ServiceSigner("recurrence", key), None)
    planner = InstancePlanner(db, TaskInstanceServiceStub(client.channel))
    async with serving(without_broker(todo.build(TodoSettings(**vars(todo_settings)), SignerKeys(signer)))) as channel:
        person = Person(channel, idle, signer, db)
        created = await person.todo.CreateTask(
            title="Water", due_time=due, recurrence={"frequency": 1}, time_zone="UTC"
        )
        await complete(person, created.task)
        await carrier.carry()
    assert await planner.run_once() == 0
    await leases_are_over(db)
    async with serving(without_broker(todo.build(TodoSettings(**vars(todo_settings)), SignerKeys(signer)))) as channel:
        person.calls(channel)
        carrying = asyncio.create_task(carrier.run())
        planner.start()
        await person.settled([slot(due, 1)])
        assert len((await person.todo.ListTasks(show_deleted=True)).tasks) == 2
        await planner.close()
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
    await client.close()


async def test_a_plan_for_a_task_that_was_purged_ends_the_series(
    todo_channel: grpc.aio.Channel,
    idle: grpc.aio.Channel,
    instances: TaskInstanceServiceStub,
    signer: Signer,
    db: Database,
    carrier: Carrier,
) -> None:
    person = Person(todo_channel, idle, signer, db)
    created = await person.todo.CreateTask(
        title="Water", due_time=ahead(HOUR), recurrence={"frequency": 1}, time_zone="UTC"
    )
    await complete(person, created.task)
    await carrier.carry()
    async with carrier.todo.connection() as connection:
        await connection.execute("DELETE FROM tasks")
    assert await InstancePlanner(db, instances).run_once() == 1
    schedule = await person.schedule(created.task.series_id)
    assert not schedule.is_active
    assert len(await person.log(schedule.id)) == 1
