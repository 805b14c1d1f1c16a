"""Sessions of the archive, in its partitions and in cold storage."""

from collections.abc import Sequence
from typing import Any

import orjson

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Key, Page
from mesh.runtime.clock import to_datetime, to_datetime_or_none
from services.history.errors import ArchivedSessionNotFound
from services.history.model import Archived, Record, Recorded, Task, Window
from services.history.store import recordings

ARCHIVE = Columns(
    "sessions_archive",
    Archived,
    {
        "id": "uuid",
        "original_session_id": "uuid",
        "user_id": "uuid",
        "title": "text",
        "status": "text",
        "outcome": "text",
        "pomodoro_count": "integer",
        "short_break_count": "integer",
        "long_break_count": "integer",
        "duration_pomodoro_minutes": "integer",
        "duration_short_break_minutes": "integer",
        "duration_long_break_minutes": "integer",
        "long_break_interval": "integer",
        "total_focused_seconds": "integer",
        "total_break_seconds": "integer",
        "interruption_count": "integer",
        "task_count": "integer",
        "original_event_id": "uuid",
        "slot": "text",
        "planned_start_time": "timestamptz",
        "planned_minutes": "integer",
        "start_time": "timestamptz",
        "end_time": "timestamptz",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "deleted_at": "timestamptz",
        "purge_at": "timestamptz",
        "version": "bigint",
    },
    fixed={"id", "user_id", "created_at"},
)

_CHANGED = ", ".join(
    f"{name} = excluded.{name}" for name in Archived._fields if name not in {"id", "user_id", "created_at"}
)
_PUT = f"""
    INSERT INTO sessions_archive ({ARCHIVE.names}) SELECT * FROM {ARCHIVE.recordset}
    ON CONFLICT (id, created_at) DO UPDATE SET {_CHANGED} RETURNING id"""
_PUT_TASKS = """
    INSERT INTO session_tasks (id, archived_session_id, tasks, created_at)
    SELECT id, id, tasks, created_at FROM unnest(
        %(task_ids)s::uuid[], %(task_lists)b::text[]::jsonb[], %(task_times)s::timestamptz[])
        AS stored (id, tasks, created_at)
    ON CONFLICT (id, created_at) DO UPDATE SET tasks = excluded.tasks"""


async def put(tx: Connection, sessions: Sequence[tuple[Archived, Sequence[Task]]]) -> None:
    """Stores sessions with their tasks, in place of those that are stored; there must be partitions for them."""
    values = _parameters(sessions)
    await tx.execute(_PUT, values)
    await tx.execute(_PUT_TASKS, values)


async def list_records(tx: Connection, recorded: Sequence[Recorded]) -> list[Record]:
    """Reads recorded sessions with what the archive has of them, whoever has them and whether they are deleted."""
    cursor = tx.cursor(binary=True)
    await cursor.execute(
        _LIST_RECORDS, ([each.id for each in recorded], [to_datetime_or_none(each.archived_at) for each in recorded])
    )
    by_id = {each.id: each for each in recorded}
    rows = [(Archived._make(row[:-1]), row[-1]) for row in await cursor.fetchall()]
    return [Record(archived, by_id[archived.id], _tasks(tasks)) for archived, tasks in rows]


async def save(tx: Connection, record: Record, side_effects: SideEffects) -> None:
    """Stores a session with its tasks and the side effects of the call; there must be a partition for it."""
    values = _parameters([(record.archived, record.tasks)])
    await outbox.write(tx, _PUT, values, side_effects, (_PUT_TASKS_IF_CHANGED,))


_PUT_TASKS_IF_CHANGED = _PUT_TASKS.replace("ON CONFLICT", "WHERE EXISTS (SELECT FROM changed) ON CONFLICT", 1)

_ITS_TASKS = """
    (SELECT tasks FROM session_tasks WHERE session_tasks.id = sessions_archive.id
        AND session_tasks.created_at = sessions_archive.created_at)"""
_WHEN = "(SELECT archived_at FROM recorded_sessions WHERE id = %(id)s::uuid AND user_id = %(user_id)s::uuid)"
_GET = f"""
    SELECT {ARCHIVE.select}, {_ITS_TASKS} FROM sessions_archive
    WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND created_at = {_WHEN}
        AND (purge_at IS NULL OR purge_at > now())"""
_LIST_RECORDS = f"""
    SELECT {ARCHIVE.select}, {_ITS_TASKS} FROM sessions_archive
    JOIN unnest(%s::uuid[], %s::timestamptz[]) AS wanted (session_id, at)
        ON sessions_archive.id = session_id AND created_at = at"""
_COLD = """
    cold_sessions(%(user_id)s::uuid, %(begin)s::timestamptz, %(end)s::timestamptz, %(after_time)s::timestamptz,
        %(after_id)s::uuid, %(ascending)s::boolean, %(limit)s::integer) AS sessions_archive"""
_GET_COLD = f"""
    SELECT {ARCHIVE.select} FROM {_WHEN} AS known (at), LATERAL cold_sessions(
        %(user_id)s::uuid, at, at + interval '1 microsecond', NULL, NULL, false, 1000) AS sessions_archive
    WHERE at IS NOT NULL AND sessions_archive.id = %(id)s::uuid"""
_COLD_TASKS = "SELECT session_id::text, tasks FROM cold_tasks(%s::uuid, %s::uuid[], %s::timestamptz[])"


async def get(
    connection: Connection, user_id: str, session_id: str, *, include_cold: bool
) -> tuple[Archived, tuple[Task, ...], bool]:
    """Reads a session, its tasks, and whether it is in cold storage; raises ArchivedSessionNotFound."""
    values = {"user_id": user_id, "id": session_id}
    cursor = connection.cursor(binary=True)
    await cursor.execute(_GET, values)
    if row := await cursor.fetchone():
        return Archived._make(row[:-1]), _tasks(row[-1]), False
    if include_cold:
        await cursor.execute(_GET_COLD, values)
        if row := await cursor.fetchone():
            archived = Archived._make(row)
            tasks = await _cold_tasks(connection, user_id, [archived])
            return archived, tasks.get(archived.id, ()), True
    raise ArchivedSessionNotFound(archived_session_id=session_id)


async def get_record(tx: Connection, user_id: str, session_id: str) -> Record:
    """Reads a session with all that belongs to it, also a deleted one; raises ArchivedSessionNotFound."""
    archived, tasks, _ = await get(tx, user_id, session_id, include_cold=True)
    recorded = await recordings.find(tx, [session_id])
    return Record(archived, recorded[archived.id], tasks)


async def list_sessions(
    connection: Connection, user_id: str, window: Window, page: Page, *, ascending: bool = False
) -> tuple[list[Archived], set[str]]:
    """Reads one session more than the page holds, by `created_at`, and the ids of those in cold storage."""
    values = _window_values(user_id, window, page, ascending)
    cursor = ARCHIVE.cursor(connection)
    await cursor.execute(_list_statement(window, page, ascending), values)
    found = await cursor.fetchall()
    cold: set[str] = set()
    if window.include_cold:
        await cursor.execute(f"SELECT {ARCHIVE.select} FROM {_COLD} WHERE deleted_at IS NULL", values)
        rows = await cursor.fetchall()
        cold = {row.id for row in rows}
        found = sorted([*found, *rows], key=lambda row: (row.created_at, row.id), reverse=not ascending)
    return found[: page.limit()], cold


async def list_tasks(
    connection: Connection, user_id: str, sessions: Sequence[Archived], cold: set[str]
) -> dict[str, tuple[Task, ...]]:
    """Reads the tasks of sessions of a user."""
    hot = [each for each in sessions if each.id not in cold]
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        """
        SELECT session_tasks.id::text, tasks FROM session_tasks
        JOIN unnest(%s::uuid[], %s::timestamptz[]) AS wanted (id, at)
            ON session_tasks.id = wanted.id AND created_at = wanted.at""",
        ([each.id for each in hot], [to_datetime(each.created_at) for each in hot]),
    )
    found = {session_id: _tasks(tasks) for session_id, tasks in await cursor.fetchall()}
    frozen = [each for each in sessions if each.id in cold]
    return found | (await _cold_tasks(connection, user_id, frozen) if frozen else {})


def page_key(archived: Archived) -> Key:
    """The sort key of a session in lists."""
    return [archived.created_at, archived.id]


async def _cold_tasks(
    connection: Connection, user_id: str, sessions: Sequence[Archived]
) -> dict[str, tuple[Task, ...]]:
    cursor = await connection.execute(
        _COLD_TASKS,
        (user_id, [each.id for each in sessions], [to_datetime(each.created_at) for each in sessions]),
    )
    return {session_id: _tasks(tasks) for session_id, tasks in await cursor.fetchall()}


def _list_statement(window: Window, page: Page, ascending: bool) -> str:
    conditions = ["user_id = %(user_id)s::uuid", "(purge_at IS NULL OR purge_at > now())"]
    if window.begin is not None:
        conditions.append("created_at >= %(begin)s::timestamptz")
    if window.end is not None:
        conditions.append("created_at < %(end)s::timestamptz")
    if not window.show_deleted:
        conditions.append("deleted_at IS NULL")
    if page.after is not None:
        # The first of these lets the planner leave partitions out, which it does not for a row.
        conditions.append(f"created_at {'>=' if ascending else '<='} %(after_time)s::timestamptz")
        conditions.append(
            f"(created_at, id) {'>' if ascending else '<'} (%(after_time)s::timestamptz, %(after_id)s::uuid)"
        )
    # With the name of the table: `id` alone would be the text that is selected, which no index has.
    order = "ASC" if ascending else "DESC"
    return f"""
        SELECT {ARCHIVE.select} FROM sessions_archive WHERE {" AND ".join(conditions)}
        ORDER BY sessions_archive.created_at {order}, sessions_archive.id {order} LIMIT %(limit)s"""


def _window_values(user_id: str, window: Window, page: Page, ascending: bool) -> dict[str, Any]:
    after_time, after_id = page.after if page.after is not None else (None, None)
    return {
        "user_id": user_id,
        "begin": to_datetime_or_none(window.begin),
        "end": to_datetime_or_none(window.end),
        "after_time": to_datetime(after_time) if isinstance(after_time, int) else None,
        "after_id": after_id,
        "ascending": ascending,
        "limit": page.limit(),
    }


def _parameters(sessions: Sequence[tuple[Archived, Sequence[Task]]]) -> dict[str, Any]:
    rows = [archived for archived, _ in sessions]
    return ARCHIVE.rows(rows) | {
        "task_ids": [row.id for row in rows],
        "task_lists": [orjson.dumps([task._asdict() for task in tasks]).decode() for _, tasks in sessions],
        "task_times": [to_datetime(row.created_at) for row in rows],
    }


def _tasks(rows: Sequence[dict[str, Any]] | None) -> tuple[Task, ...]:
    return tuple(Task(**row) for row in rows or ())
