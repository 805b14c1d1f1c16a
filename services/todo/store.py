"""SQL of the todo service: one statement per function, owner first."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from psycopg.errors import UniqueViolation

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.database.erasure import erase_of
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Key, Page
from mesh.runtime.clock import to_datetime
from services.todo.errors import SlotTaken, TaskNotFound, TooManySeries
from services.todo.model import DueTask, Filter, FocusReport, FocusSession, ListedTask, Order, Task

_PLAIN = {
    "id": "uuid",
    "user_id": "uuid",
    "title": "text",
    "description": "text",
    "status": "text",
    "due_date": "timestamptz",
    "reminder_time": "timestamptz",
    "is_recurring": "boolean",
    "recurrence_schedule": "text",
    "estimated_pomodoros": "integer",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "completed_at": "timestamptz",
    "deleted_at": "timestamptz",
    "purge_at": "timestamptz",
    "version": "bigint",
    "focus_seconds": "integer",
    "pomodoros": "integer",
}
_MORE = {
    "recurrence": "jsonb",
    "time_zone": "text",
    "repeat_from": "text",
    "series_id": "uuid",
    "slot": "text",
    "reminder_offsets": "jsonb",
    "series_values": "jsonb",
    "is_withdrawn": "boolean",
}
TASKS = Columns("tasks", Task, _PLAIN | _MORE, fixed={"id", "user_id", "created_at", "focus_seconds", "pomodoros"})
LISTED = Columns("tasks", ListedTask, _PLAIN | {"more": "jsonb", "shown_at_end": "boolean"})
MOST_LOOKED_AT = 2_000
"""Tasks of one page: whatever is left out of them, the next page goes on after the last one."""
DUE = Columns("tasks", DueTask, {name: kind for name, kind in _PLAIN.items() if name in DueTask._fields})
SESSIONS = Columns(
    "focus_sessions",
    FocusSession,
    {
        "id": "uuid",
        "user_id": "uuid",
        "totals": "jsonb",
        "is_deleted": "boolean",
        "corrected": "jsonb",
        "is_removed": "boolean",
    },
)

_KEYS = {
    Order.CREATED_DESC: ("created_at", "DESC", "<"),
    Order.CREATED_ASC: ("created_at", "ASC", ">"),
    Order.DUE_ASC: ("coalesce(due_date, 'infinity')", "ASC", ">"),
    Order.UPDATED_DESC: ("updated_at", "DESC", "<"),
}

_INSERT_TASK = f"INSERT INTO tasks ({TASKS.names}) VALUES ({TASKS.values}) RETURNING id"


async def insert_task(connection: Connection, task: Task, side_effects: SideEffects) -> None:
    """Writes a new task."""
    await outbox.write(connection, _INSERT_TASK, TASKS.parameters(task), side_effects)


_INSERT_TASKS = f"INSERT INTO tasks ({TASKS.names}) SELECT * FROM {TASKS.recordset} RETURNING id"


async def insert_tasks(connection: Connection, tasks: Sequence[Task], side_effects: SideEffects) -> None:
    """Writes several new tasks, all or none."""
    await outbox.write(connection, _INSERT_TASKS, TASKS.rows(tasks), side_effects)


_GET_TASK = f"""
    SELECT {TASKS.select} FROM tasks
    WHERE user_id = %s::uuid AND id = %s::uuid AND (purge_at IS NULL OR purge_at > now())"""


async def get_task(connection: Connection, user_id: str, task_id: str) -> Task:
    """Reads one task, also a deleted one until it is purged; raises TaskNotFound."""
    cursor = TASKS.cursor(connection)
    await cursor.execute(_GET_TASK, (user_id, task_id))
    task = await cursor.fetchone()
    if task is None:
        raise TaskNotFound(task_id=task_id)
    return task


async def has_task(connection: Connection, user_id: str, task_id: str) -> bool:
    """Whether there is such a task, also one that was deleted and is not purged yet."""
    cursor = await connection.execute(
        "SELECT FROM tasks WHERE user_id = %s::uuid AND id = %s::uuid", (user_id, task_id)
    )
    return await cursor.fetchone() is not None


async def find_owned(connection: Connection, user_id: str, task_ids: Sequence[str]) -> list[str]:
    """Those of the tasks that the user has and has not deleted."""
    cursor = await connection.execute(
        "SELECT id::text FROM tasks WHERE user_id = %s::uuid AND id = ANY(%s::uuid[]) AND deleted_at IS NULL",
        (user_id, list(task_ids)),
    )
    return [task_id for (task_id,) in await cursor.fetchall()]


async def list_tasks(
    connection: Connection, user_id: str, chosen: Filter, page: Page
) -> tuple[list[ListedTask], Key | None]:
    """Reads one task more than the page holds, so that the caller knows whether there is a next page.

    Returns too after which task the next page goes on when this one ends because of MOST_LOOKED_AT.
    """
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit()}
    if chosen.states:
        values["states"] = list(chosen.states)
    if chosen.due_from is not None:
        values["due_from"] = to_datetime(chosen.due_from)
    if chosen.due_before is not None:
        values["due_before"] = to_datetime(chosen.due_before)
    if chosen.is_recurring is not None:
        values["is_recurring"] = chosen.is_recurring
    if page.after is not None:
        instant, values["after_id"] = page.after
        values["after"] = "infinity" if instant is None else to_datetime(int(instant))
    cursor = LISTED.cursor(connection)
    await cursor.execute(_list(chosen.order, chosen.show_deleted, frozenset(values)), values)
    tasks = await cursor.fetchall()
    if not tasks or tasks[-1].shown_at_end is None:
        return tasks, None
    more_after = page_key(chosen.order, tasks[-1])
    return tasks if tasks[-1].shown_at_end else tasks[:-1], more_after


def page_key(order: Order, task: ListedTask) -> Key:
    """The sort key of a task; the instant is None for a task that is never due."""
    if order is Order.DUE_ASC:
        return [task.due_date, task.id]
    return [task.updated_at if order is Order.UPDATED_DESC else task.created_at, task.id]


_DUE_KEY = "coalesce(due_date, 'infinity')"
_LIST_DUE = f"""
    SELECT {DUE.select} FROM tasks WHERE user_id = %(user_id)s::uuid AND deleted_at IS NULL AND {_DUE_KEY} < 'infinity'
    ORDER BY {_DUE_KEY}, id LIMIT %(limit)s"""
_LIST_DUE_AFTER = _LIST_DUE.replace(
    "ORDER BY", f"AND ({_DUE_KEY}, id) > (%(after)s::timestamptz, %(after_id)s::uuid) ORDER BY"
)


async def list_due(connection: Connection, user_id: str, page: Page) -> list[DueTask]:
    """Tasks with a due time that are not deleted, soonest first; one more than the page holds."""
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit()}
    if page.after is not None:
        instant, values["after_id"] = page.after
        values["after"] = to_datetime(int(instant or 0))
    cursor = DUE.cursor(connection)
    await cursor.execute(_LIST_DUE_AFTER if page.after else _LIST_DUE, values)
    return await cursor.fetchall()


_SAVE_TASK = f"""
    UPDATE tasks SET {TASKS.assignments}
    WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND version = %(version)s - 1
    RETURNING id"""


async def save_task(connection: Connection, task: Task, side_effects: SideEffects) -> None:
    """Writes the next version of a task.

    Raises WriteConflict when another write came first, and SlotTaken when another instance has its slot.
    """
    try:
        await outbox.write(connection, _SAVE_TASK, TASKS.parameters(task), side_effects)
    except UniqueViolation as error:
        if error.diag.constraint_name != "idx_tasks_series_slot":
            raise
        raise SlotTaken(series_id=task.series_id, slot=task.slot) from None


_WITHOUT_SERIES = f"""
    SELECT {TASKS.select} FROM tasks
    WHERE is_recurring AND series_id IS NULL AND status <> 'complete' AND deleted_at IS NULL AND id > %s::uuid
    ORDER BY id LIMIT %s"""


async def list_without_series(connection: Connection, after: str, limit: int) -> list[Task]:
    """Reads recurring tasks of all users that are to be done and in no series, by id. after: the last id before."""
    cursor = TASKS.cursor(connection)
    await cursor.execute(_WITHOUT_SERIES, (after, limit))
    return await cursor.fetchall()


_GET_INSTANCE = f"""
    SELECT {TASKS.select} FROM tasks WHERE user_id = %s::uuid AND series_id = %s::uuid AND slot = %s
    ORDER BY deleted_at IS NOT NULL, is_withdrawn, updated_at DESC LIMIT 1"""


async def get_instance(connection: Connection, user_id: str, series_id: str, slot: str) -> Task | None:
    """Reads the instance of a slot; without one that is not deleted, the one that was deleted there last.

    One that its user deleted comes before those that were withdrawn.
    """
    cursor = TASKS.cursor(connection)
    await cursor.execute(_GET_INSTANCE, (user_id, series_id, slot))
    return await cursor.fetchone()


_PUT_INSTANCE = f"""
    INSERT INTO tasks ({TASKS.names}) VALUES ({TASKS.values}) ON CONFLICT DO NOTHING RETURNING id"""


async def put_instance(connection: Connection, task: Task, side_effects: SideEffects) -> None:
    """Writes a new instance; raises WriteConflict when another call has put it."""
    await outbox.write(connection, _PUT_INSTANCE, TASKS.parameters(task), side_effects)


async def lock_user(tx: Connection, user_id: str) -> None:
    """Waits until no other transaction has the lock of this user, and keeps it until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s::text, 0))", (user_id,))


async def find_imported(connection: Connection, user_id: str, uids: Sequence[str]) -> dict[str, str]:
    """The ids of tasks that were imported by these UIDs, also of deleted ones until they are purged."""
    cursor = await connection.execute(
        "SELECT import_uid, id::text FROM tasks WHERE user_id = %s::uuid AND import_uid = ANY(%s)",
        (user_id, list(uids)),
    )
    return dict(await cursor.fetchall())


_IMPORT_TASKS = f"""
    INSERT INTO tasks ({TASKS.names}, import_uid)
    SELECT tasks_rows.*, uid FROM {TASKS.recordset}
    JOIN unnest(%(ids)s::uuid[], %(uids)s::text[]) AS imported (id, uid) USING (id) RETURNING id"""


async def import_tasks(tx: Connection, tasks: Mapping[str, Task], side_effects: SideEffects) -> None:
    """Writes new tasks by their UIDs."""
    values = TASKS.rows(list(tasks.values()))
    ids = {"ids": [task.id for task in tasks.values()], "uids": list(tasks)}
    await outbox.write(tx, _IMPORT_TASKS, values | ids, side_effects)


_COUNT_SERIES = """
    SELECT count(DISTINCT series_id)::integer, coalesce(bool_or(id = ANY(%(ids)s::uuid[])
        OR series_id = ANY(%(series)s::uuid[])), false)
    FROM tasks WHERE user_id = %(user_id)s::uuid AND series_id IS NOT NULL AND deleted_at IS NULL
        AND (completed_at IS NULL OR completed_at > now() - interval '1 hour')"""


async def claim_series(tx: Connection, tasks: Sequence[Task], most: int) -> None:
    """Makes sure that these tasks of one user may recur, until the transaction ends; raises TooManySeries.

    A series counts while it has an instance that is not complete, or was an hour ago: the next one follows.
    """
    user_id = tasks[0].user_id
    await lock_user(tx, user_id)
    ids, series = [task.id for task in tasks], {task.series_id for task in tasks}
    cursor = await tx.execute(_COUNT_SERIES, {"user_id": user_id, "ids": ids, "series": list(series)})
    for count, is_counted in await cursor.fetchall():
        if not is_counted and count + len(series) > most:
            raise TooManySeries(limit=most)


async def purge_tasks(connection: Connection, limit: int) -> int:
    """Removes tasks that can no longer be undeleted; returns how many.

    Rows of withdrawn instances stay until their user is erased: put again, one must not begin at the first version.
    """
    cursor = await connection.execute(
        """
        DELETE FROM tasks WHERE id IN (
            SELECT id FROM tasks WHERE purge_at <= now() AND NOT is_withdrawn
            ORDER BY purge_at LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (limit,),
    )
    return cursor.rowcount


erase_tasks = erase_of("tasks")
"""Whatever their state."""


_LOCK_SESSIONS = f"""
    INSERT INTO focus_sessions (id, user_id)
    SELECT id, user_id FROM unnest(%(ids)s::uuid[], %(user_ids)s::uuid[], %(counts)s::boolean[])
        AS reported (id, user_id, counts)
    WHERE (counts OR EXISTS (SELECT FROM focus_sessions AS known WHERE known.id = reported.id))
        AND EXISTS (SELECT FROM tasks WHERE tasks.user_id = reported.user_id LIMIT 1 FOR KEY SHARE)
    ORDER BY id
    ON CONFLICT (id) DO UPDATE SET user_id = focus_sessions.user_id
    RETURNING {SESSIONS.select}"""


async def lock_sessions(tx: Connection, reports: Sequence[FocusReport]) -> list[FocusSession]:
    """Locks the focus sessions until the transaction ends, and returns what is known of them.

    Nothing is known of a session without links to tasks, nor of one whose user has no tasks, such as an erased user's.
    """
    cursor = SESSIONS.cursor(tx)
    await cursor.execute(
        _LOCK_SESSIONS,
        {
            "ids": [report.session_id for report in reports],
            "user_ids": [report.user_id for report in reports],
            "counts": [bool(report.totals) for report in reports],
        },
    )
    return await cursor.fetchall()


_SAVE_SESSIONS = f"""
    WITH saved AS (
        UPDATE focus_sessions SET totals = reported.totals, is_deleted = reported.is_deleted,
            corrected = reported.corrected, is_removed = reported.is_removed
        FROM (SELECT * FROM {SESSIONS.recordset}) AS reported WHERE focus_sessions.id = reported.id
    )
    UPDATE tasks SET focus_seconds = tasks.focus_seconds + moved.seconds, pomodoros = tasks.pomodoros + moved.pomodoros
    FROM unnest(%(owners)s::uuid[], %(task_ids)s::uuid[], %(seconds)s::integer[], %(pomodoros)s::integer[])
        AS moved (user_id, task_id, seconds, pomodoros)
    WHERE tasks.user_id = moved.user_id AND tasks.id = moved.task_id"""


async def save_sessions(
    tx: Connection, sessions: Sequence[FocusSession], moved: Mapping[tuple[str, str], Sequence[int]]
) -> None:
    """Writes sessions, and moves the sums of tasks. moved: seconds and pomodoros to add, by user and task."""
    await tx.execute(
        _SAVE_SESSIONS,
        SESSIONS.rows(sessions)
        | {
            "owners": [user_id for user_id, _ in moved],
            "task_ids": [task_id for _, task_id in moved],
            "seconds": [seconds for seconds, _ in moved.values()],
            "pomodoros": [pomodoros for _, pomodoros in moved.values()],
        },
    )


erase_sessions = erase_of("focus_sessions")
"""What is known of their focus sessions."""


@lru_cache(maxsize=256)
def _list(order: Order, show_deleted: bool, names: frozenset[str]) -> str:
    """The statement for one combination of filters; a combination is prepared once per connection.

    It looks at tasks in the order of the list; the last of MOST_LOOKED_AT is there whether it is shown or not.
    """
    key, direction, beyond = _KEYS[order]
    among = ["user_id = %(user_id)s::uuid"]
    if "after" in names:
        among.append(f"({key}, id) {beyond} (%(after)s::timestamptz, %(after_id)s::uuid)")
    shown = ["(purge_at IS NULL OR purge_at > now())" if show_deleted else "deleted_at IS NULL"]
    if "states" in names:
        shown.append("status = ANY(%(states)s)")
    if "due_from" in names:
        shown.append("due_date >= %(due_from)s")
    if "due_before" in names:
        shown.append("due_date < %(due_before)s")
    if "is_recurring" in names:
        shown.append("is_recurring = %(is_recurring)s")
    in_order = f"ORDER BY place {direction}, id {direction}"
    is_shown = f"coalesce({' AND '.join(shown)}, false)"
    return f"""
        SELECT {LISTED.select} FROM (
            SELECT *,
                CASE WHEN is_recurring OR reminder_offsets IS NOT NULL
                    THEN jsonb_build_array({", ".join(_MORE)}) END AS more,
                CASE WHEN number = {MOST_LOOKED_AT} THEN {is_shown} END AS shown_at_end
            FROM (
                SELECT *, row_number() OVER ({in_order}) AS number FROM (
                    SELECT *, {key} AS place FROM tasks WHERE {" AND ".join(among)}
                    ORDER BY {key} {direction}, id {direction} LIMIT {MOST_LOOKED_AT}) AS tasks
            ) AS tasks
            WHERE {is_shown} OR number = {MOST_LOOKED_AT}) AS tasks
        ORDER BY place {direction}, tasks.id {direction} LIMIT %(limit)s"""
