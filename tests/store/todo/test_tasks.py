"""Tasks in the database: what the specification says of the table, and what a caller cannot see."""

import json
from datetime import UTC, datetime

import psycopg
import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent
from mesh.events.outbox import SideEffects, StoredResponse
from mesh.runtime.clock import DAY, SECOND, now
from mesh.runtime.ids import new_id
from services.todo import consumers, events, store
from services.todo.errors import TaskNotFound
from services.todo.jobs import TaskPurger
from services.todo.model import Task
from tests.store.todo.tasks import USER, a_task


async def test_every_column_and_index_of_the_specification_is_there(connection: Connection) -> None:
    cursor = await connection.execute(
        "SELECT column_name, data_type, character_maximum_length, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'todo' AND table_name = 'tasks'"
    )
    text, instant = "character varying", "timestamp with time zone"
    assert {
        ("id", "uuid", None, "NO"),
        ("title", text, 255, "NO"),
        ("description", "text", None, "YES"),
        ("status", text, 20, "NO"),
        ("due_date", instant, None, "YES"),
        ("reminder_time", instant, None, "YES"),
        ("is_recurring", "boolean", None, "NO"),
        ("recurrence_schedule", text, 20, "YES"),
        ("estimated_pomodoros", "integer", None, "YES"),
        ("created_at", instant, None, "NO"),
        ("updated_at", instant, None, "NO"),
    } <= set(await cursor.fetchall())
    cursor = await connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'todo'")
    indexes = " ".join(definition for (definition,) in await cursor.fetchall())
    for column in ("status", "due_date", "is_recurring"):
        assert f"idx_tasks_{column} ON todo.tasks USING btree ({column})" in indexes


async def test_a_new_row_has_the_defaults_of_the_specification(connection: Connection) -> None:
    cursor = await connection.execute(
        "INSERT INTO tasks (user_id, title) VALUES (%s, 'x') RETURNING id, status, is_recurring, created_at", (USER,)
    )
    [(task_id, status, is_recurring, created)] = await cursor.fetchall()
    assert (task_id.version, status, is_recurring) == (7, "pending", False)
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60


async def test_only_tasks_whose_undelete_window_is_over_are_purged(db: Database, connection: Connection) -> None:
    kept, window_open, over = a_task("kept"), a_task("window open"), a_task("over")
    for task in (kept, window_open, over):
        await store.insert_task(connection, task, SideEffects([events.task_created(task)], None, ""))
    for task, purge in ((window_open, now() + DAY), (over, now() - SECOND)):
        await connection.execute(
            "UPDATE tasks SET deleted_at = now(), purge_at = to_timestamp(%s) WHERE id = %s", (purge / SECOND, task.id)
        )
    assert await TaskPurger(db).run_once() == 1
    assert await TaskPurger(db).run_once() == 0
    cursor = await connection.execute("SELECT title FROM tasks ORDER BY title")
    assert await cursor.fetchall() == [("kept",), ("window open",)]


async def test_a_withdrawn_instance_keeps_its_version_however_late_it_is_put_again(
    db: Database, connection: Connection
) -> None:
    task = a_task()._replace(deleted_at=now(), purge_at=now() - SECOND, is_withdrawn=True, version=2)
    await store.insert_task(connection, task, SideEffects([events.task_deleted(task)], None, ""))
    assert await TaskPurger(db).run_once() == 0
    with pytest.raises(TaskNotFound):
        await store.get_task(connection, USER, task.id)
    assert await store.erase_tasks(connection, USER, 10) == 1


async def test_a_batch_writes_every_task_and_its_event_in_order(connection: Connection) -> None:
    tasks = [a_task(f"task {number}") for number in range(100)]
    await store.insert_tasks(connection, tasks, SideEffects([events.task_created(task) for task in tasks], None, ""))
    cursor = await connection.execute("SELECT value FROM outbox ORDER BY seq")
    assert [json.loads(value)["subject"] for (value,) in await cursor.fetchall()] == [task.id for task in tasks]


async def test_a_batch_of_which_one_task_cannot_be_written_writes_nothing(connection: Connection) -> None:
    tasks = [a_task(), a_task("x" * 256)]
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        await store.insert_tasks(
            connection, tasks, SideEffects([events.task_created(task) for task in tasks], None, "")
        )
    for table in ("tasks", "outbox"):
        cursor = await connection.execute(f"SELECT count(*) FROM {table}")
        assert await cursor.fetchall() == [(0,)]


async def insert(connection: Connection, task: Task) -> None:
    """Writes a task, its event and a stored response."""
    response = StoredResponse(task.user_id, "CreateTask", new_id(), b"fingerprint", b"response")
    await store.insert_task(connection, task, SideEffects([events.task_created(task)], response, ""))


async def owners(connection: Connection, table: str) -> list[str]:
    cursor = await connection.execute(f"SELECT user_id::text FROM {table} ORDER BY user_id")
    return [owner for (owner,) in await cursor.fetchall()]


async def test_tasks_are_erased_in_batches_whatever_their_state(connection: Connection) -> None:
    for task in (a_task(), a_task(), a_task(user_id=new_id())):
        await insert(connection, task)
    await insert(connection, a_task()._replace(deleted_at=now(), purge_at=now() + DAY))
    assert [await store.erase_tasks(connection, USER, 2) for _ in range(3)] == [2, 1, 0]


async def test_a_deleted_user_leaves_neither_tasks_nor_stored_responses_and_the_outbox_is_published(
    connection: Connection,
) -> None:
    other = new_id()
    for task in (a_task(), a_task(), a_task(user_id=other)):
        await insert(connection, task)
    deleted = ConsumedEvent(new_id(), "user-deleted", "auth", USER, USER, 1, 2, now(), {}, "", "user-events", b"")
    async with connection.transaction():
        await consumers.on_user_deleted(connection, deleted)
    assert await owners(connection, "tasks") == await owners(connection, "idempotency") == [other]
    cursor = await connection.execute("SELECT count(*) FROM outbox")
    assert await cursor.fetchall() == [(3,)]
