"""Todo and recurrence as one user sees them, with events carried from one to the other as the broker does."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from focusmesh.recurrence.v1 import schedule_pb2, schedule_service_pb2, schedule_service_pb2_grpc
from focusmesh.todo.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import until
from mesh.database.pool import Database
from mesh.events import envelope
from mesh.events.envelope import ConsumedEvent, Message
from mesh.events.inbox import Inbox
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.recurrence.consumers import Follower
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

DAILY = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY)
OPEN = (task_pb2.TASK_STATE_PENDING, task_pb2.TASK_STATE_IN_PROGRESS)
HOUR = 3600


def ahead(seconds: int) -> Timestamp:
    """A whole second from now on."""
    return Timestamp(seconds=clock.now() // SECOND + seconds)


def slot(due: Timestamp, days: int = 0) -> str:
    """The slot so many days after a due time, in UTC."""
    return (datetime.fromtimestamp(due.seconds, UTC) + timedelta(days=days)).replace(tzinfo=None).isoformat()


def changes(*names: str, **values: object) -> schedule_service_pb2.SeriesChanges:
    """Changes whose mask names what is set, and `names`."""
    return schedule_service_pb2.SeriesChanges(update_mask=FieldMask(paths=[*names, *values]), **values)


async def in_utc(user_id: str) -> str | None:
    """Auth, where every user is in UTC."""
    return "UTC"


def read(value: bytes, topic: str) -> ConsumedEvent:
    """An event as its consumer reads it."""
    return envelope.read(Message(topic, 0, 0, b"", value, (), 0))


class Carrier:
    """Carries what todo has committed to recurrence's consumer, in order."""

    def __init__(self, todo: Database, recurrence: Database) -> None:
        self.todo, self._inbox = todo, Inbox(recurrence, Follower(recurrence, in_utc, lambda: None).subscriptions())
        self._last = 0

    async def run(self) -> None:
        """Carries until it is cancelled."""
        while True:
            if not await self.carry():
                await asyncio.sleep(0.01)

    async def carry(self) -> int:
        """Carries what is there; returns how many events."""
        async with self.todo.connection() as connection:
            cursor = await connection.execute(
                "SELECT seq, value FROM outbox WHERE 'task-events' = ANY(topics) AND seq > %s ORDER BY seq",
                (self._last,),
            )
            rows = await cursor.fetchall()
        if rows:
            await self._inbox.apply([read(value, "task-events") for _, value in rows])
            self._last = rows[-1][0]
        return len(rows)


class Person:
    """A user of both services."""

    def __init__(self, todo: grpc.aio.Channel, recurrence: grpc.aio.Channel, signer: Signer, db: Database) -> None:
        self.user_id, self.db, self._signer = new_id(), db, signer
        stub = schedule_service_pb2_grpc.ScheduleServiceStub(recurrence)
        self.schedules = UserStub(stub, schedule_service_pb2, signer, self.user_id)
        self.calls(todo)

    def calls(self, todo: grpc.aio.Channel) -> None:
        """Calls todo by this channel from now on."""
        stub = task_service_pb2_grpc.TaskServiceStub(todo)
        self.todo = UserStub(stub, task_service_pb2, self._signer, self.user_id)

    async def recurring(
        self, due: Timestamp | None = None, rule: recurrence_pb2.Recurrence = DAILY, zone: str = "UTC", **fields: Any
    ) -> task_pb2.Task:
        """A new recurring task whose schedule is there."""
        created = await self.todo.CreateTask(title="Water", due_time=due, recurrence=rule, time_zone=zone, **fields)
        task: task_pb2.Task = created.task
        await until(lambda: self.has_schedule(task.series_id), "the schedule is there")
        return task

    async def has_schedule(self, series_id: str) -> bool:
        """Whether recurrence knows a series."""
        listed = (await self.schedules.ListSchedules()).schedules
        return series_id in {schedule.id for schedule in listed}

    async def schedule(self, series_id: str) -> schedule_pb2.Schedule:
        """The schedule of a series."""
        found: schedule_pb2.Schedule = (await self.schedules.GetSchedule(schedule_id=series_id)).schedule
        return found

    async def log(self, series_id: str) -> list[schedule_pb2.Completion]:
        """The log of a series, the newest entry first."""
        return list((await self.schedules.ListCompletions(schedule_id=series_id)).completions)

    async def open_tasks(self) -> list[task_pb2.Task]:
        """The user's open tasks."""
        return list((await self.todo.ListTasks(states=OPEN)).tasks)

    async def slots(self) -> list[str]:
        """The slots of open tasks, in order."""
        return sorted(task.slot for task in await self.open_tasks())

    async def settled(self, slots: Sequence[str]) -> list[task_pb2.Task]:
        """The open tasks, once they are those of these slots and recurrence knows it and has nothing left to do."""

        async def is_so() -> bool:
            async with self.db.connection() as connection:
                cursor = await connection.execute(
                    """
                    SELECT (SELECT count(*) FROM plans WHERE user_id = %(id)s),
                        ARRAY(SELECT slot FROM open_tasks WHERE user_id = %(id)s ORDER BY slot)""",
                    {"id": self.user_id},
                )
                waiting, known = await cursor.fetchone() or (1, [])
            return waiting == 0 and known == sorted(slots) and await self.slots() == sorted(slots)

        await until(is_so, f"{slots} are open")
        return await self.open_tasks()


async def complete(person: Person, task: task_pb2.Task) -> None:
    """Completes a task of somebody."""
    await person.todo.CompleteTask(task_id=task.id)
