"""The last state of tasks."""

from collections.abc import Collection, Sequence

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from services.notification.model import TaskState

TASKS = Columns(
    "tasks",
    TaskState,
    {
        "id": "uuid",
        "user_id": "uuid",
        "is_open": "boolean",
        "is_deleted": "boolean",
        "due_date": "timestamptz",
        "reminder_time": "timestamptz",
        "updated_at": "timestamptz",
    },
)


async def put_tasks(tx: Connection, tasks: Sequence[TaskState]) -> None:
    """Stores the last state of tasks, each of them once."""
    await tx.execute(
        f"""
        INSERT INTO tasks ({TASKS.names}) SELECT * FROM {TASKS.recordset} ORDER BY id
        ON CONFLICT (id) DO UPDATE SET is_open = excluded.is_open, is_deleted = excluded.is_deleted,
            due_date = excluded.due_date, reminder_time = excluded.reminder_time, updated_at = excluded.updated_at
        WHERE tasks.user_id = excluded.user_id""",
        TASKS.rows(tasks),
    )


async def find_tasks(connection: Connection, task_ids: Collection[str]) -> dict[str, TaskState]:
    """Reads those of these tasks that are known."""
    cursor = TASKS.cursor(connection)
    await cursor.execute(f"SELECT {TASKS.select} FROM tasks WHERE id = ANY(%s::uuid[])", (list(task_ids),))
    return {row.id: row for row in await cursor.fetchall()}


async def purge(connection: Connection, days: int, limit: int) -> int:
    """Removes tasks that were deleted so many days ago; returns how many."""
    cursor = await connection.execute(
        """
        DELETE FROM tasks WHERE id IN (
            SELECT id FROM tasks WHERE is_deleted AND updated_at < now() - make_interval(days => %s)
            ORDER BY updated_at LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (days, limit),
    )
    return cursor.rowcount
