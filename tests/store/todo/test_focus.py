"""What the consumer of focus sessions writes."""

import asyncio
from typing import Any

import psycopg

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import now
from mesh.runtime.ids import new_id
from services.todo import consumers, events, store
from services.todo.model import Task
from services.todo.rules import tasks as rules
from tests.store.todo.tasks import USER, a_task


def focus(
    session: str, *tasks: tuple[Task, int, int], user: str = USER, source: str = "pomodoro", deleted: bool = False
) -> ConsumedEvent:
    """An event with seconds and pomodoros of tasks, spelled as the publisher likes."""
    listed = [
        {"todo_task_id": task.id.upper(), "focused_seconds": seconds, "pomodoro_count": pomodoros}
        for task, seconds, pomodoros in tasks
    ]
    payload: dict[str, Any] = {
        "tasks": [*listed, {"todo_task_id": None}, {}],
        "delete_time": "now" if deleted else None,
    }
    data = {"payload": payload}
    return ConsumedEvent(new_id(), "session-updated", source, session.upper(), user, 1, 1, now(), data, "", "t", b"")


async def apply(db: Database, *consumed: ConsumedEvent) -> None:
    async with db.transaction() as tx:
        await consumers.on_focus(tx, consumed)


async def insert(db: Database, *tasks: Task) -> None:
    async with db.connection() as connection:
        for task in tasks:
            await store.insert_task(connection, task, SideEffects([events.task_created(task)], None, ""))


async def sums(db: Database, *tasks: Task) -> list[tuple[int, int]]:
    async with db.connection() as connection:
        found = [await store.get_task(connection, task.user_id, task.id) for task in tasks]
    return [(task.focus_seconds, task.pomodoros) for task in found]


async def known(db: Database) -> int:
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT count(*)::integer FROM focus_sessions")
        [count] = await cursor.fetchone() or (0,)
    return int(count)


async def test_a_task_shows_the_sum_of_its_sessions(db: Database) -> None:
    write, read, one, other = a_task(), a_task(), new_id(), new_id()
    await insert(db, write, read)
    await apply(db, focus(one, (write, 600, 0)), focus(other, (write, 60, 0), (write, 40, 1), (read, 5, 0)))
    assert await sums(db, write, read) == [(700, 1), (5, 0)]
    await apply(db, focus(one, (write, 700, 0)), focus(one, (read, 1500, 1)))
    assert await sums(db, write, read) == [(100, 1), (1505, 1)]


async def test_deleted_sessions_withdraw_and_undeleted_ones_come_back(db: Database) -> None:
    task, session = a_task(), new_id()
    await insert(db, task)
    await apply(db, focus(session, (task, 600, 1)))
    for source in ("pomodoro", "history"):
        await apply(db, focus(session, (task, 600, 1), source=source, deleted=True))
        assert await sums(db, task) == [(0, 0)]
        await apply(db, focus(session, (task, 600, 1), source=source))
        assert await sums(db, task) == [(600, 1)]


async def test_a_correction_in_history_counts_even_when_it_comes_first(db: Database) -> None:
    task, session = a_task(), new_id()
    await insert(db, task)
    await apply(db, focus(session, (task, 0, 0), source="history"))
    await apply(db, focus(session, (task, 600, 1)))
    assert await sums(db, task) == [(0, 0)]
    await apply(db, focus(session, (task, 300, 0), source="history"))
    assert await sums(db, task) == [(300, 0)]


async def test_once_history_has_reported_a_session_it_alone_says_whether_it_counts(db: Database) -> None:
    task, session = a_task(), new_id()
    await insert(db, task)
    await apply(db, focus(session, (task, 600, 1)), focus(session, (task, 600, 1), deleted=True))
    assert await sums(db, task) == [(0, 0)]
    await apply(db, focus(session, (task, 600, 1), source="history"))  # undeleted there
    assert await sums(db, task) == [(600, 1)]
    await apply(db, focus(session, (task, 600, 1), source="history", deleted=True))
    await apply(db, focus(session, (task, 600, 1)))
    assert await sums(db, task) == [(0, 0)]


async def test_a_sum_moves_neither_version_nor_time_and_publishes_nothing(db: Database, connection: Connection) -> None:
    task = a_task()
    await insert(db, task)
    await apply(db, focus(new_id(), (task, 600, 1)))
    worked = await store.get_task(connection, USER, task.id)
    assert worked == task._replace(focus_seconds=600, pomodoros=1)
    changed = rules.start(task, now(), None)
    await store.save_task(connection, changed, SideEffects([events.task_updated(changed)], None, ""))
    assert await sums(db, task) == [(600, 1)]
    cursor = await connection.execute("SELECT version FROM outbox ORDER BY seq")
    assert await cursor.fetchall() == [(1,), (2,)]


async def test_sessions_without_links_and_tasks_of_others_leave_nothing(db: Database) -> None:
    foreign = a_task(user_id=new_id())
    await insert(db, foreign)
    unlinked = (focus(new_id(), user=foreign.user_id, source=source) for source in ("pomodoro", "history"))
    await apply(db, focus(new_id(), (foreign, 600, 1)), *unlinked)
    assert (await sums(db, foreign), await known(db)) == ([(0, 0)], 0)
    await insert(db, a_task())
    await apply(db, focus(new_id(), (foreign, 600, 1)))
    assert await sums(db, foreign) == [(0, 0)]


async def test_an_erased_user_leaves_nothing_however_late_an_event_comes(db: Database) -> None:
    task, other = a_task(), a_task(user_id=new_id())
    await insert(db, task, other)
    await apply(db, focus(new_id(), (task, 600, 1)), focus(new_id(), (other, 60, 0), user=other.user_id))
    deleted = ConsumedEvent(new_id(), "user-deleted", "auth", USER, USER, 1, 2, now(), {}, "", "user-events", b"")
    async with db.transaction() as tx:
        await consumers.on_user_deleted(tx, deleted)
    await apply(db, focus(new_id(), (task, 600, 1)), focus(new_id(), (task, 60, 0), source="history"))
    assert (await sums(db, other), await known(db)) == ([(60, 0)], 1)


async def test_sums_are_right_whoever_writes_at_the_same_time(db: Database) -> None:
    """Sessions and corrections come from two topics at once, and the user changes the tasks meanwhile."""
    tasks = [a_task() for _ in range(4)]
    await insert(db, *tasks)
    sessions = [new_id() for _ in range(10)]

    async def report(source: str, order: list[Task]) -> None:
        for session in sessions:
            while True:
                try:
                    await apply(db, focus(session, *((task, 10, 1) for task in order), source=source))
                    break
                except psycopg.errors.DeadlockDetected:  # transient: a consumer tries again
                    continue

    async def change(task: Task) -> None:
        for _ in range(10):
            task = rules.update(task, now(), None, changes={"title": f"{task.version}"}, series_id=new_id())
            async with db.connection() as connection:
                await store.save_task(connection, task, SideEffects([events.task_updated(task)], None, ""))

    await asyncio.gather(report("pomodoro", tasks), report("history", tasks[::-1]), *map(change, tasks))
    assert await sums(db, *tasks) == [(100, 10)] * 4
