"""Users, open tasks and their reminders."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mesh.database.columns import Columns, microseconds, namedtuple_row
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Key, Page
from services.recurrence.model import DueReminder, OpenTask, Reminder

TASKS = Columns(
    "open_tasks",
    OpenTask,
    {
        "id": "uuid",
        "user_id": "uuid",
        "title": "text",
        "is_begun": "boolean",
        "due_date": "timestamptz",
        "time_zone": "text",
        "series_id": "uuid",
        "slot": "text",
    },
    fixed={"id", "user_id"},
)
REMINDERS = Columns(
    "task_reminders",
    Reminder,
    {
        "task_id": "uuid",
        "reminder": "text",
        "user_id": "uuid",
        "remind_at": "timestamptz",
        "is_waiting": "boolean",
    },
    fixed={"task_id", "reminder", "user_id"},
)


async def lock_users(tx: Connection, user_ids: Iterable[str]) -> dict[str, str | None]:
    """The zones of those of these users who are not deleted; none of them is deleted before the transaction ends."""
    ids = sorted(set(user_ids))
    await tx.execute(
        "INSERT INTO users (user_id) SELECT * FROM unnest(%s::uuid[]) ON CONFLICT (user_id) DO NOTHING", (ids,)
    )
    cursor = await tx.execute(
        """
        SELECT user_id::text, time_zone, is_deleted FROM users
        WHERE user_id = ANY(%s::uuid[]) ORDER BY user_id FOR SHARE""",
        (ids,),
    )
    return {user_id: zone for user_id, zone, is_deleted in await cursor.fetchall() if not is_deleted}


async def without_zone(connection: Connection, user_ids: Collection[str]) -> set[str]:
    """Those of these users of whom no zone is stored, unless they are deleted."""
    cursor = await connection.execute(
        """
        SELECT id::text FROM unnest(%s::uuid[]) AS wanted (id) LEFT JOIN users ON user_id = id
        WHERE time_zone IS NULL AND is_deleted IS NOT TRUE""",
        (list(user_ids),),
    )
    return {user_id for (user_id,) in await cursor.fetchall()}


async def learn_zone(connection: Connection, user_id: str, zone: str) -> None:
    """Stores where a user is, unless that is known."""
    await connection.execute(
        """
        INSERT INTO users (user_id, time_zone) VALUES (%s::uuid, %s)
        ON CONFLICT (user_id) DO UPDATE SET time_zone = coalesce(users.time_zone, excluded.time_zone)""",
        (user_id, zone),
    )


async def set_zone(tx: Connection, user_id: str, zone: str) -> bool:
    """Stores where a user is now; returns whether that is news."""
    cursor = await tx.execute(
        """
        INSERT INTO users (user_id, time_zone) VALUES (%s::uuid, %s)
        ON CONFLICT (user_id) DO UPDATE SET time_zone = excluded.time_zone
        WHERE users.time_zone IS DISTINCT FROM excluded.time_zone AND NOT users.is_deleted""",
        (user_id, zone),
    )
    return cursor.rowcount > 0


async def mark_deleted(tx: Connection, user_id: str) -> None:
    """Drops what comes later of a user; waits until nothing of theirs is written."""
    await tx.execute(
        """
        INSERT INTO users (user_id, is_deleted) VALUES (%s::uuid, true)
        ON CONFLICT (user_id) DO UPDATE SET time_zone = NULL, is_deleted = true""",
        (user_id,),
    )


async def find_followed(tx: Connection, task_ids: Collection[str]) -> set[str]:
    """Those of these tasks of which something is stored: a reminder is stored with its task."""
    if not task_ids:
        return set()
    cursor = await tx.execute("SELECT id::text FROM open_tasks WHERE id = ANY(%s::uuid[])", (list(task_ids),))
    return {task_id for (task_id,) in await cursor.fetchall()}


async def list_tasks(tx: Connection, task_ids: Iterable[str], series_ids: Iterable[str]) -> list[OpenTask]:
    """Open tasks by their ids, and all of these series."""
    cursor = TASKS.cursor(tx)
    await cursor.execute(
        f"SELECT {TASKS.select} FROM open_tasks WHERE id = ANY(%s::uuid[]) OR series_id = ANY(%s::uuid[])",
        (list(task_ids), list(series_ids)),
    )
    return await cursor.fetchall()


async def find_open(tx: Connection, series_id: str) -> OpenTask | None:
    """The open instance of a series; of several the one of the earliest slot."""
    cursor = TASKS.cursor(tx)
    await cursor.execute(
        f"SELECT {TASKS.select} FROM open_tasks WHERE series_id = %s::uuid ORDER BY slot LIMIT 1", (series_id,)
    )
    return await cursor.fetchone()


async def open_of(connection: Connection, series_ids: Sequence[str]) -> dict[str, OpenTask]:
    """The same of many series."""
    cursor = TASKS.cursor(connection)
    await cursor.execute(
        f"""
        SELECT DISTINCT ON (series_id) {TASKS.select} FROM open_tasks
        WHERE series_id = ANY(%s::uuid[]) ORDER BY series_id, slot""",
        (list(series_ids),),
    )
    return {task.series_id or "": task for task in await cursor.fetchall()}


async def list_reminders(tx: Connection, task_ids: Iterable[str]) -> list[Reminder]:
    """All reminders of tasks, also those that fired."""
    cursor = REMINDERS.cursor(tx)
    await cursor.execute(
        f"SELECT {REMINDERS.select} FROM task_reminders WHERE task_id = ANY(%s::uuid[])", (list(task_ids),)
    )
    return await cursor.fetchall()


async def put_tasks(tx: Connection, tasks: Sequence[OpenTask]) -> None:
    """Writes open tasks."""
    await tx.execute(
        f"""
        INSERT INTO open_tasks ({TASKS.names}) SELECT * FROM {TASKS.recordset}
        ON CONFLICT (id) DO UPDATE SET {TASKS.assignments_of_rows.replace("open_tasks_rows.", "excluded.")}""",
        TASKS.rows(tasks),
    )


async def remove_tasks(tx: Connection, task_ids: Iterable[str]) -> None:
    """Removes tasks that are not open any more, with their reminders."""
    await tx.execute("DELETE FROM open_tasks WHERE id = ANY(%s::uuid[])", (list(task_ids),))


async def put_reminders(tx: Connection, reminders: Sequence[Reminder]) -> None:
    """Writes reminders."""
    assignments = REMINDERS.assignments_of_rows.replace("task_reminders_rows.", "excluded.")
    await tx.execute(
        f"""
        INSERT INTO task_reminders ({REMINDERS.names}) SELECT * FROM {REMINDERS.recordset}
        ON CONFLICT (task_id, reminder) DO UPDATE SET {assignments}""",
        REMINDERS.rows(reminders),
    )


async def remove_reminders(tx: Connection, gone: Sequence[Reminder]) -> None:
    """Removes reminders that their tasks have no more."""
    await tx.execute(
        """
        DELETE FROM task_reminders USING unnest(%s::uuid[], %s::text[]) AS gone (id, name)
        WHERE task_id = gone.id AND reminder = gone.name""",
        ([each.task_id for each in gone], [each.reminder for each in gone]),
    )


async def list_in_user_days(tx: Connection, user_id: str, after: Key | None, limit: int) -> list[tuple[Reminder, int]]:
    """Reminders of a user that count in days of no series' zone, each with its due time; in order."""
    last = after or ["00000000-0000-0000-0000-000000000000", ""]
    cursor = await tx.execute(
        f"""
        SELECT {REMINDERS.select}, {microseconds("due_date")} FROM task_reminders
        JOIN open_tasks ON open_tasks.id = task_id
        WHERE open_tasks.user_id = %s::uuid AND open_tasks.time_zone IS NULL AND reminder ~ '^-P[0-9]'
            AND due_date IS NOT NULL AND (task_id, reminder) > (%s::uuid, %s)
        ORDER BY task_id, reminder LIMIT %s FOR UPDATE OF task_reminders""",
        (user_id, *last, limit),
    )
    return [(Reminder(*row[:5]), row[5]) for row in await cursor.fetchall()]


_DUE = f"""
    SELECT task_id::text, reminder, task_reminders.user_id::text, {microseconds("remind_at")}, title,
        {microseconds("due_date")}, series_id::text, slot, {microseconds("now()")}
    FROM task_reminders JOIN open_tasks ON open_tasks.id = task_id
    WHERE is_waiting AND remind_at <= now()
    ORDER BY remind_at LIMIT %s FOR UPDATE OF task_reminders SKIP LOCKED"""


async def claim_due(tx: Connection, limit: int) -> list[DueReminder]:
    """Locks reminders that are due by the clock of the database and that no other replica has locked."""
    cursor = tx.cursor(binary=True, row_factory=namedtuple_row(DueReminder))
    await cursor.execute(_DUE, (limit,))
    return await cursor.fetchall()


_FIRE = """
    UPDATE task_reminders SET is_waiting = false FROM unnest(%(tasks)s::uuid[], %(names)s::text[]) AS due (id, name)
    WHERE task_id = due.id AND reminder = due.name RETURNING task_id"""


async def fire(tx: Connection, due: Sequence[DueReminder], side_effects: SideEffects) -> None:
    """Notes that locked reminders fired, together with their events."""
    values = {"tasks": [each.task_id for each in due], "names": [each.reminder for each in due]}
    await outbox.write(tx, _FIRE, values, side_effects)


async def seconds_until_due(connection: Connection) -> float | None:
    """Seconds until the next reminder is due; None without one."""
    cursor = await connection.execute(
        "SELECT extract(epoch FROM min(remind_at) - clock_timestamp())::float FROM task_reminders WHERE is_waiting"
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def list_waiting(connection: Connection, user_id: str, page: Page) -> list[DueReminder]:
    """Reads one waiting reminder more than the page holds, the next one first."""
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit()}
    after = ""
    if page.after is not None:
        values["remind_at"], values["task_id"], values["name"] = page.after
        instant = "'epoch'::timestamptz + %(remind_at)s * interval '1 microsecond'"
        after = f" AND (remind_at, task_id, reminder) > ({instant}, %(task_id)s::uuid, %(name)s)"
    cursor = connection.cursor(binary=True, row_factory=namedtuple_row(DueReminder))
    await cursor.execute(
        f"""
        SELECT task_id::text, reminder, task_reminders.user_id::text, {microseconds("remind_at")}, title,
            {microseconds("due_date")}, series_id::text, slot, {microseconds("now()")}
        FROM task_reminders JOIN open_tasks ON open_tasks.id = task_id
        WHERE task_reminders.user_id = %(user_id)s::uuid AND is_waiting{after}
        ORDER BY remind_at, task_id, reminder LIMIT %(limit)s""",
        values,
    )
    return await cursor.fetchall()


def reminder_key(due: DueReminder) -> Key:
    """The sort key of a reminder in the list."""
    return [due.remind_at, due.task_id, due.reminder]
