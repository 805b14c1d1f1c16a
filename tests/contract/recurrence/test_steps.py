"""What its user does while todo has yet to hear of what was decided of a series, one plan after the other."""

import grpc
import pytest
from focusmesh.recurrence.v1 import schedule_service_pb2 as pb
from focusmesh.todo.v1.task_instance_service_pb2_grpc import TaskInstanceServiceStub
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.database.pool import Database
from services.recurrence.jobs import InstancePlanner
from tests.contract.recurrence.world import DAILY, HOUR, Carrier, Person, ahead, changes, complete, slot
from tests.support.tokens import Signer

WEEKLY = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY)


@pytest.fixture
def someone(todo_channel: grpc.aio.Channel, idle: grpc.aio.Channel, signer: Signer, db: Database) -> Person:
    """A user whose events and plans go on only when a test says so."""
    return Person(todo_channel, idle, signer, db)


@pytest.fixture
def planner(db: Database, instances: TaskInstanceServiceStub) -> InstancePlanner:
    """What carries out plans."""
    return InstancePlanner(db, instances)


@pytest.mark.parametrize("scope", [pb.SERIES_SCOPE_ALL, pb.SERIES_SCOPE_FOLLOWING])
async def test_the_rule_that_a_user_gives_the_open_task_after_an_edit_of_its_series_stays(
    scope: pb.SeriesScope, someone: Person, planner: InstancePlanner, carrier: Carrier
) -> None:
    due = ahead(HOUR)
    task = (await someone.todo.CreateTask(title="Water", due_time=due, recurrence=DAILY, time_zone="UTC")).task
    await carrier.carry()
    await someone.schedules.UpdateSeries(
        schedule_id=task.series_id,
        scope=scope,
        slot=slot(due) if scope == pb.SERIES_SCOPE_FOLLOWING else None,
        changes=changes(start=slot(Timestamp(seconds=due.seconds + 60)), title="Fertilize"),
    )
    split = (
        await someone.todo.UpdateTask(task_id=task.id, update_mask=FieldMask(paths=["recurrence"]), recurrence=WEEKLY)
    ).task
    assert await planner.run_once() == 1
    await carrier.carry()
    assert (await someone.settled([slot(due)])) == [split]
    active = (await someone.schedules.ListSchedules(is_active=True)).schedules
    assert [(each.id, each.recurrence.frequency) for each in active] == [(split.series_id, WEEKLY.frequency)]
    await complete(someone, split)
    await carrier.carry()
    assert await planner.run_once() == 1
    await carrier.carry()
    await someone.settled([slot(due, 7)])


async def test_the_first_instance_of_a_schedule_that_began_ahead_is_followed_however_soon_it_is_complete(
    someone: Person, planner: InstancePlanner, carrier: Carrier
) -> None:
    due = ahead(HOUR)
    task = (await someone.todo.CreateTask(title="Water", due_time=due, recurrence=DAILY, time_zone="UTC")).task
    await carrier.carry()
    new = (
        await someone.schedules.UpdateSeries(
            schedule_id=task.series_id,
            scope=pb.SERIES_SCOPE_FOLLOWING,
            slot=slot(due, 1),
            changes=changes(title="Fertilize"),
        )
    ).schedule
    await complete(someone, task)
    await carrier.carry()
    await planner.run_once()
    [first] = await someone.open_tasks()
    await complete(someone, first)
    while await planner.run_once() or await carrier.carry():
        pass
    [second] = await someone.settled([slot(due, 2)])
    assert (second.series_id, second.title) == (new.id, "Fertilize")
    assert [entry.slot for entry in await someone.log(new.id)] == [slot(due, 1)]
