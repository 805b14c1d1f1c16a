"""Series in the database: one instance a slot, and tasks from before there were series."""

import psycopg
import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Frequency, Rule
from mesh.runtime.clock import now
from mesh.runtime.errors import DependencyUnavailable, NotFound
from mesh.runtime.ids import new_id
from services.todo import events, store
from services.todo.jobs import SeriesStarter
from services.todo.model import State, Task
from services.todo.rules import tasks
from tests.store.todo.tasks import USER, a_task

BERLIN = "Europe/Berlin"
DAILY = to_document(Rule(Frequency.DAILY))


def recurring(**changes: object) -> Task:
    """The first instance of a series."""
    task = a_task()
    return tasks.create(task._replace(recurrence=DAILY, **changes), BERLIN)  # type: ignore[arg-type]


def of_before(task: Task) -> Task:
    """A recurring task as it is after the migration."""
    simple = {"is_recurring": True, "recurrence_schedule": "daily", "recurrence": DAILY}
    return task._replace(**simple, repeat_from="from_due_next_future")  # type: ignore[arg-type]


async def insert(connection: Connection, task: Task) -> None:
    await store.insert_task(connection, task, SideEffects([events.task_created(task)], None, ""))


async def test_every_column_of_a_series_is_read_back(connection: Connection) -> None:
    task = recurring(reminder_offsets=["-P1D"])._replace(series_values={"title": "y", "reminder_time": now()})
    await insert(connection, task)
    assert await store.get_task(connection, USER, task.id) == task
    assert await store.get_instance(connection, USER, task.id, task.slot or "") == task
    assert await store.get_instance(connection, new_id(), task.id, task.slot or "") is None
    plain, other = a_task(), recurring()
    made = [events.task_created(plain), events.task_created(other)]
    await store.insert_tasks(connection, [plain, other], SideEffects(made, None, ""))
    assert await store.get_task(connection, USER, other.id) == other


async def test_a_slot_of_a_series_has_one_instance(connection: Connection) -> None:
    task = recurring()
    await insert(connection, task)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await insert(connection, task._replace(id=new_id()))
    await insert(connection, task._replace(id=new_id(), slot="2026-03-29"))


@pytest.mark.parametrize(
    "broken",
    [
        {"slot": None},
        {"series_id": None},
        {"time_zone": None},
        {"recurrence": None},
        {"repeat_from": None},
        {"repeat_from": "from_birth"},
        {"is_recurring": False, "recurrence_schedule": None},
        {"recurrence_schedule": "hourly"},
        {"is_withdrawn": True},
    ],
)
async def test_a_task_recurs_wholly_or_not_at_all(connection: Connection, broken: dict[str, object]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await insert(connection, recurring()._replace(**broken))  # type: ignore[arg-type]


class TestTasksOfBefore:
    """Recurring tasks that were made before tasks had series."""

    @staticmethod
    async def in_berlin(_user_id: str) -> str:
        return BERLIN

    async def test_they_get_series_in_the_zone_of_their_user_once(self, db: Database, connection: Connection) -> None:
        due = of_before(a_task())._replace(due_date=1_774_661_400_000_000)
        done = of_before(a_task())._replace(status=State.COMPLETE, completed_at=now())
        for task in (of_before(a_task()), due, done, recurring(), a_task()):
            await insert(connection, task)
        starter = SeriesStarter(db, self.in_berlin, now)
        assert [await starter.run_once() for _ in range(3)] == [2, 0, 0]
        started = await store.get_task(connection, USER, due.id)
        assert (started.series_id, started.slot, started.time_zone) == (due.id, "2026-03-28T02:30:00", BERLIN)
        cursor = await connection.execute(
            "SELECT convert_from(value, 'UTF8')::jsonb ->> 'type' FROM outbox ORDER BY seq"
        )
        assert [kind for (kind,) in await cursor.fetchall()] == ["task-created"] * 5 + ["task-updated"] * 2

    async def test_nothing_is_guessed_while_auth_is_away(self, db: Database, connection: Connection) -> None:
        async def away(_user_id: str) -> str:
            raise DependencyUnavailable("auth")

        await insert(connection, of_before(a_task()))
        with pytest.raises(DependencyUnavailable):
            await SeriesStarter(db, away, now).run_once()
        assert await SeriesStarter(db, self.in_berlin, now).run_once() == 1

    async def test_one_whose_user_is_gone_does_not_stop_the_others(self, db: Database, connection: Connection) -> None:
        class Gone(NotFound):
            reason, message = "USER_NOT_FOUND", "gone"

        async def zone_of(user_id: str) -> str:
            if user_id != USER:
                raise Gone
            return BERLIN

        gone, task = of_before(a_task(user_id=new_id())), of_before(a_task())
        for each in (gone, task):
            await insert(connection, each)
        starter = SeriesStarter(db, zone_of, now)
        assert [await starter.run_once() for _ in range(3)] == [2, 0, 1]
        assert (await store.get_task(connection, USER, task.id)).series_id == task.id
        assert (await store.get_task(connection, gone.user_id, gone.id)).series_id is None
