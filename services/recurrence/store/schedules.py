"""Schedules and the log of completions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Key, Page
from services.recurrence.errors import CompletionNotFound, ScheduleNotFound
from services.recurrence.model import Completion, Schedule

KEPT_COMPLETIONS = 1_000
"""Of one series."""

SCHEDULES = Columns(
    "recurrence_schedules",
    Schedule,
    {
        "id": "uuid",
        "user_id": "uuid",
        "parent_task_id": "uuid",
        "frequency": "text",
        "next_due_date": "timestamptz",
        "is_active": "boolean",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "rule": "jsonb",
        "time_zone": "text",
        "repeat_from": "text",
        "start_slot": "text",
        "next_slot": "text",
        "made": "integer",
        "cancelled": "jsonb",
        "moved": "jsonb",
        "successor": "jsonb",
        "version": "bigint",
    },
    fixed={"id", "user_id", "parent_task_id", "created_at"},
)
COMPLETIONS = Columns(
    "completions",
    Completion,
    {
        "id": "uuid",
        "user_id": "uuid",
        "series_id": "uuid",
        "task_id": "uuid",
        "slot": "text",
        "completed_at": "timestamptz",
        "local_date": "date",
        "timing": "text",
        "next_slot": "text",
        "undone_at": "timestamptz",
    },
    fixed={"id", "user_id", "series_id", "task_id", "slot", "completed_at", "local_date", "timing", "next_slot"},
)
_COMPLETION = COMPLETIONS.select.replace("completions.local_date", "completions.local_date::text")

_GET_SCHEDULE = f"SELECT {SCHEDULES.select} FROM recurrence_schedules WHERE user_id = %s::uuid AND id = %s::uuid"


async def get_schedule(connection: Connection, user_id: str, schedule_id: str, *, lock: bool = False) -> Schedule:
    """Reads one schedule; raises ScheduleNotFound. lock: until the end of the transaction."""
    cursor = SCHEDULES.cursor(connection)
    await cursor.execute(_GET_SCHEDULE + (" FOR UPDATE" if lock else ""), (user_id, schedule_id))
    schedule = await cursor.fetchone()
    if schedule is None:
        raise ScheduleNotFound(schedule_id=schedule_id)
    return schedule


async def lock_schedules(tx: Connection, ids: Iterable[str]) -> list[Schedule]:
    """Reads and locks schedules in the order of their ids."""
    cursor = SCHEDULES.cursor(tx)
    await cursor.execute(
        f"SELECT {SCHEDULES.select} FROM recurrence_schedules WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE",
        (sorted(set(ids)),),
    )
    return await cursor.fetchall()


async def list_schedules(connection: Connection, user_id: str, is_active: bool | None, page: Page) -> list[Schedule]:
    """Reads one schedule more than the page holds, the newest first."""
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit(), "is_active": is_active}
    after = ""
    if page.after is not None:
        values["created_at"], values["id"] = page.after
        after = f" AND (created_at, id) < ({_instant('created_at')}, %(id)s::uuid)"
    cursor = SCHEDULES.cursor(connection)
    await cursor.execute(
        f"""
        SELECT {SCHEDULES.select} FROM recurrence_schedules
        WHERE user_id = %(user_id)s::uuid
            AND (%(is_active)s::boolean IS NULL OR is_active = %(is_active)s::boolean){after}
        ORDER BY created_at DESC, recurrence_schedules.id DESC LIMIT %(limit)s""",
        values,
    )
    return await cursor.fetchall()


def schedule_key(schedule: Schedule) -> Key:
    """The sort key of a schedule in the list."""
    return [schedule.created_at, schedule.id]


_PUT_SCHEDULES = f"""
    INSERT INTO recurrence_schedules ({SCHEDULES.names}) SELECT * FROM {SCHEDULES.recordset}
    ON CONFLICT (id) DO UPDATE SET {SCHEDULES.assignments_of_rows.replace("recurrence_schedules_rows.", "excluded.")}
    RETURNING id"""


async def put_schedules(tx: Connection, schedules: Sequence[Schedule], side_effects: SideEffects | None = None) -> None:
    """Writes new schedules and the next versions of locked ones; what waits for them is active as they are."""
    if schedules:
        effects = side_effects or SideEffects((), None, "")
        await outbox.write(tx, _PUT_SCHEDULES, SCHEDULES.rows(schedules), effects)
    await put_waiting(tx, {each.waiting["id"]: each.is_active for each in schedules if each.waiting is not None})


async def list_waiting(tx: Connection, ids: Iterable[str]) -> list[str]:
    """Those of these schedules that begin again after an active one: their first instance was withdrawn by undo."""
    cursor = await tx.execute(
        """
        SELECT schedule.id::text FROM recurrence_schedules AS schedule JOIN recurrence_schedules AS before
            ON before.user_id = schedule.user_id AND before.successor ->> 'id' = schedule.id::text
        WHERE schedule.id = ANY(%s::uuid[]) AND before.is_active AND before.successor ->> 'is_begun' = 'false'""",
        (list(ids),),
    )
    return [schedule_id for (schedule_id,) in await cursor.fetchall()]


_PUT_WAITING = """
    WITH RECURSIVE waiting (id, is_active) AS (
        SELECT * FROM unnest(%s::uuid[], %s::boolean[]) AS first (id, is_active)
            WHERE NOT EXISTS (SELECT FROM open_tasks WHERE series_id = first.id)
        UNION SELECT (before.successor ->> 'id')::uuid, waiting.is_active
            FROM waiting JOIN recurrence_schedules AS before USING (id)
            WHERE before.successor ->> 'is_begun' = 'false')
    UPDATE recurrence_schedules AS schedule
    SET is_active = waiting.is_active, version = version + 1, updated_at = greatest(updated_at, now())
    FROM waiting WHERE schedule.id = waiting.id AND schedule.is_active <> waiting.is_active"""


async def put_waiting(tx: Connection, active: Mapping[str, bool]) -> None:
    """Opens or closes schedules that have yet to begin, and those that are to begin after them.

    One with an open instance stays: undo of what was before it left that where it is.
    """
    if active:
        await tx.execute(_PUT_WAITING, (list(active), list(active.values())))


async def get_completion(tx: Connection, user_id: str, completion_id: str) -> Completion:
    """Reads one entry of a log; raises CompletionNotFound."""
    cursor = COMPLETIONS.cursor(tx)
    await cursor.execute(
        f"SELECT {_COMPLETION} FROM completions WHERE user_id = %s::uuid AND id = %s::uuid", (user_id, completion_id)
    )
    completion = await cursor.fetchone()
    if completion is None:
        raise CompletionNotFound(completion_id=completion_id)
    return completion


async def list_counting(tx: Connection, task_ids: Iterable[str]) -> list[Completion]:
    """Of each of these tasks the newest entry that was not undone, and that of the slot which followed."""
    cursor = COMPLETIONS.cursor(tx)
    await cursor.execute(
        f"""
        WITH newest AS (
            SELECT DISTINCT ON (task_id) * FROM completions
            WHERE task_id = ANY(%s::uuid[]) AND undone_at IS NULL ORDER BY task_id, completed_at DESC)
        SELECT {_COMPLETION} FROM newest AS completions
        UNION SELECT {_COMPLETION} FROM completions WHERE undone_at IS NULL AND task_id IS NOT NULL
            AND (series_id, slot) IN (SELECT series_id, next_slot FROM newest)""",
        (list(task_ids),),
    )
    return await cursor.fetchall()


async def furthest(tx: Connection, series_ids: Iterable[str]) -> dict[str, str]:
    """Of each of these series the last slot of an instance whose entry was not undone, where there is one."""
    cursor = await tx.execute(
        """
        SELECT series.id::text, last.slot FROM unnest(%s::uuid[]) AS series (id), LATERAL (
            SELECT slot FROM completions WHERE series_id = series.id AND undone_at IS NULL AND task_id IS NOT NULL
            ORDER BY slot DESC LIMIT 1) AS last""",
        (list(series_ids),),
    )
    return dict(await cursor.fetchall())


async def list_completions(connection: Connection, user_id: str, series_id: str, page: Page) -> list[Completion]:
    """Reads one entry of a series' log more than the page holds, the newest first."""
    values: dict[str, Any] = {"user_id": user_id, "series_id": series_id, "limit": page.limit()}
    after = ""
    if page.after is not None:
        values["completed_at"], values["id"] = page.after
        after = f" AND (completed_at, id) < ({_instant('completed_at')}, %(id)s::uuid)"
    cursor = COMPLETIONS.cursor(connection)
    await cursor.execute(
        f"""
        SELECT {_COMPLETION} FROM completions
        WHERE user_id = %(user_id)s::uuid AND series_id = %(series_id)s::uuid{after}
        ORDER BY completed_at DESC, completions.id DESC LIMIT %(limit)s""",
        values,
    )
    return await cursor.fetchall()


def completion_key(completion: Completion) -> Key:
    """The sort key of an entry in the list."""
    return [completion.completed_at, completion.id]


async def put_completions(tx: Connection, completions: Sequence[Completion]) -> None:
    """Appends entries to logs, and notes which were undone."""
    await tx.execute(
        f"""
        INSERT INTO completions ({COMPLETIONS.names}) SELECT * FROM {COMPLETIONS.recordset}
        ON CONFLICT (id) DO UPDATE SET undone_at = excluded.undone_at""",
        COMPLETIONS.rows(completions),
    )


async def rename_next(tx: Connection, series_id: str, before: str, after: str) -> None:
    """Notes the slot to which the instance came that followed a completion."""
    await tx.execute(
        "UPDATE completions SET next_slot = %s WHERE series_id = %s::uuid AND next_slot = %s AND next_slot <> %s",
        (after, series_id, before, after),
    )


async def trim_completions(tx: Connection, series_ids: Iterable[str]) -> None:
    """Removes what logs have beyond their newest entries."""
    await tx.execute(
        """
        DELETE FROM completions USING unnest(%(ids)s::uuid[]) AS series (id)
        WHERE series_id = series.id AND completions.id = ANY(ARRAY(
            SELECT old.id FROM completions AS old WHERE old.series_id = series.id
            ORDER BY old.completed_at DESC, old.id DESC OFFSET %(kept)s))""",
        {"ids": sorted(set(series_ids)), "kept": KEPT_COMPLETIONS},
    )


def _instant(name: str) -> str:
    return f"'epoch'::timestamptz + %({name})s * interval '1 microsecond'"
