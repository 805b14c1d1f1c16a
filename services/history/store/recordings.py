"""Intervals of sessions, and what they have on each day."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mesh.database.columns import Columns, microseconds
from mesh.database.connection import Connection
from mesh.runtime.clock import to_datetime
from mesh.runtime.slices import in_slices
from services.history.model import DayPart, Interval, IntervalKind, Recorded, Span

RECORDED = Columns(
    "recorded_sessions",
    Recorded,
    {
        "id": "uuid",
        "user_id": "uuid",
        "begin_time": "timestamptz",
        "end_time": "timestamptz",
        "intervals": "jsonb",
        "todo_task_ids": "jsonb",
        "archived_at": "timestamptz",
        "deleted_at": "timestamptz",
        "purge_at": "timestamptz",
        "is_manual": "boolean",
    },
)
DAYS = Columns(
    "session_days",
    DayPart,
    {
        "user_id": "uuid",
        "session_id": "uuid",
        "local_date": "date",
        "hour": "smallint",
        "task_id": "uuid",
        "focused_seconds": "integer",
        "break_seconds": "integer",
        "pomodoro_count": "integer",
        "planned_seconds": "integer",
    },
)
PAGE = 25
"""Sessions read at once: of the largest, 31 KB each, in up to 260 hours, days and tasks."""
_MOST_COMPARED = 100
"""Sessions that are compared in one statement with those that were added by hand."""

_PUT = f"""
    INSERT INTO recorded_sessions ({RECORDED.names}) SELECT * FROM {RECORDED.recordset}
    ON CONFLICT (id) DO UPDATE SET
        begin_time = excluded.begin_time, end_time = excluded.end_time, intervals = excluded.intervals,
        todo_task_ids = excluded.todo_task_ids, archived_at = excluded.archived_at,
        deleted_at = excluded.deleted_at, purge_at = excluded.purge_at
    WHERE recorded_sessions.user_id = excluded.user_id"""


async def put(tx: Connection, recorded: Sequence[Recorded]) -> None:
    """Stores the intervals of sessions, in place of those that are stored."""
    plain = [each._replace(intervals=to_json(each.intervals)) for each in recorded]
    await tx.execute(_PUT, RECORDED.rows(plain))


async def find(connection: Connection, session_ids: Collection[str]) -> dict[str, Recorded]:
    """Reads those of these sessions that are stored."""
    cursor = RECORDED.cursor(connection)
    await cursor.execute(
        f"SELECT {RECORDED.select} FROM recorded_sessions WHERE id = ANY(%s::uuid[])", (list(session_ids),)
    )
    return {row.id: row for row in await in_slices(map(from_row, await cursor.fetchall()))}


_LIST = f"""
    SELECT {RECORDED.select} FROM recorded_sessions
    WHERE user_id = %(user_id)s::uuid AND (end_time, id) > (%(after_time)s, %(after_id)s::uuid)
        AND end_time > %(since)s AND begin_time < %(until)s
    ORDER BY recorded_sessions.end_time, recorded_sessions.id LIMIT %(limit)s"""
_NO_ID = "00000000-0000-0000-0000-000000000000"


async def list_between(
    connection: Connection, user_id: str, since: int | None, until: int | None, after: Recorded | None
) -> list[Recorded]:
    """Reads a page of a user's sessions that ran between two instants, by their end. after: the last one before."""
    first, last = to_datetime(since) if since is not None else "-infinity", "infinity"
    cursor = RECORDED.cursor(connection)
    await cursor.execute(
        _LIST,
        {
            "user_id": user_id,
            "since": first,
            "until": to_datetime(until) if until is not None else last,
            "after_time": to_datetime(after.end_time) if after and after.end_time else first,
            "after_id": after.id if after else _NO_ID,
            "limit": PAGE,
        },
    )
    return await in_slices(map(from_row, await cursor.fetchall()))


_LIST_BY_HAND = f"""
    SELECT id, begin_time, end_time FROM (
        SELECT ran.id::text, {microseconds("by_hand.begin_time")} AS begin_time,
            {microseconds("by_hand.end_time")} AS end_time,
            row_number() OVER (PARTITION BY ran.id ORDER BY by_hand.begin_time) AS number,
            row_number() OVER (PARTITION BY ran.id ORDER BY by_hand.begin_time DESC) AS from_last
        FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::int8multirange[])
            AS ran (id, user_id, begin_time, end_time, worked)
        JOIN recorded_sessions AS by_hand ON by_hand.user_id = ran.user_id
            AND by_hand.end_time > ran.begin_time AND by_hand.begin_time < ran.end_time
            -- None is longer: the index ends there.
            AND by_hand.end_time < ran.end_time + interval '24 hours'
        WHERE by_hand.is_manual AND by_hand.deleted_at IS NULL AND ran.worked
            && int8range({microseconds("by_hand.begin_time")}, {microseconds("by_hand.end_time")})
    ) AS found WHERE number <= %s OR from_last = 1 ORDER BY id, number"""


async def list_by_hand(tx: Connection, recorded: Iterable[Recorded], most: int) -> dict[str, list[tuple[int, int]]]:
    """Reads when the users were at work in sessions that they added by hand, by the sessions that worked meanwhile.

    most: for each session; of more, the first so many and the last.
    """
    ran = [each for each in recorded if each.begin_time is not None and each.deleted_at is None]
    worked = await in_slices(map(_worked, ran))
    found = defaultdict[str, list[tuple[int, int]]](list)
    for first in range(0, len(ran), _MOST_COMPARED):
        compared = ran[first : first + _MOST_COMPARED]
        cursor = await tx.execute(
            _LIST_BY_HAND,
            (
                [each.id for each in compared],
                [each.user_id for each in compared],
                [to_datetime(each.begin_time or 0) for each in compared],
                [to_datetime(each.end_time or 0) for each in compared],
                worked[first : first + _MOST_COMPARED],
                most,
            ),
        )
        for session_id, begin, end in await cursor.fetchall():
            found[session_id].append((begin, end))
    return found


def _worked(recorded: Recorded) -> str:
    """When a session was at work, as a multirange."""
    focus = (each for each in recorded.intervals if each.kind == IntervalKind.FOCUS)
    return f"{{{','.join(f'[{span.begin},{span.end})' for each in focus for span in each.spans)}}}"


_FIGURES = "focused_seconds, break_seconds, pomodoro_count, planned_seconds"
_REPLACE_DAYS = f"""
    WITH removed AS (
        DELETE FROM session_days WHERE session_id = ANY(%(session_ids)s::uuid[])
        RETURNING user_id, local_date, {_FIGURES}
    ), added AS (
        INSERT INTO session_days ({DAYS.names}) SELECT * FROM {DAYS.recordset} RETURNING user_id, local_date, {_FIGURES}
    ), moved AS (
        SELECT user_id, local_date, sum(focused_seconds) AS focused, sum(break_seconds) AS breaks,
            sum(pomodoro_count) AS pomodoros, sum(planned_seconds) AS planned
        FROM (
            SELECT * FROM added UNION ALL
            SELECT user_id, local_date, -focused_seconds, -break_seconds, -pomodoro_count, -planned_seconds FROM removed
        ) AS change GROUP BY user_id, local_date
    )
    INSERT INTO daily_user_aggregates AS day (
        user_id, date_date, total_focused_seconds, total_break_seconds, total_pomodoros, total_planned_seconds)
    SELECT user_id, local_date, focused, breaks, pomodoros, planned FROM moved
    WHERE (focused, breaks, pomodoros, planned) <> (0, 0, 0, 0) ORDER BY user_id, local_date
    ON CONFLICT (user_id, date_date) DO UPDATE SET
        total_focused_seconds = day.total_focused_seconds + excluded.total_focused_seconds,
        total_break_seconds = day.total_break_seconds + excluded.total_break_seconds,
        total_pomodoros = day.total_pomodoros + excluded.total_pomodoros,
        total_planned_seconds = day.total_planned_seconds + excluded.total_planned_seconds
    RETURNING day.id, (day.total_focused_seconds, day.total_break_seconds, day.total_pomodoros,
        day.total_planned_seconds) = (0, 0, 0, 0)"""


async def replace_days(tx: Connection, session_ids: Collection[str], parts: Sequence[DayPart]) -> None:
    """Replaces what sessions have on each day, and moves the aggregates by the difference. Their users are locked."""
    cursor = await tx.execute(_REPLACE_DAYS, DAYS.rows(parts) | {"session_ids": list(session_ids)})
    if empty := [day for day, is_empty in await cursor.fetchall() if is_empty]:
        await tx.execute("DELETE FROM daily_user_aggregates WHERE id = ANY(%s::uuid[])", (empty,))


_REBUILD = """
    WITH summed AS (
        SELECT local_date, sum(focused_seconds)::integer AS focused, sum(break_seconds)::integer AS breaks,
            sum(pomodoro_count)::integer AS pomodoros, sum(planned_seconds)::integer AS planned
        FROM session_days WHERE user_id = %(user_id)s::uuid GROUP BY local_date
    ), gone AS (
        DELETE FROM daily_user_aggregates WHERE user_id = %(user_id)s::uuid
            AND NOT EXISTS (SELECT FROM summed WHERE local_date = date_date)
        RETURNING date_date
    ), written AS (
        INSERT INTO daily_user_aggregates AS day (
            user_id, date_date, total_focused_seconds, total_break_seconds, total_pomodoros, total_planned_seconds)
        SELECT %(user_id)s::uuid, local_date, focused, breaks, pomodoros, planned FROM summed
        ON CONFLICT (user_id, date_date) DO UPDATE SET
            total_focused_seconds = excluded.total_focused_seconds, total_break_seconds = excluded.total_break_seconds,
            total_pomodoros = excluded.total_pomodoros, total_planned_seconds = excluded.total_planned_seconds
        WHERE (day.total_focused_seconds, day.total_break_seconds, day.total_pomodoros, day.total_planned_seconds)
            <> (excluded.total_focused_seconds, excluded.total_break_seconds, excluded.total_pomodoros,
                excluded.total_planned_seconds)
        RETURNING date_date
    )
    SELECT (SELECT count(*) FROM gone)::integer + (SELECT count(*) FROM written)::integer"""


async def clear_days(tx: Connection, user_id: str) -> None:
    """Removes what all sessions of a user have on each day; the aggregates stay."""
    await tx.execute("DELETE FROM session_days WHERE user_id = %s::uuid", (user_id,))


async def add_days(tx: Connection, parts: Sequence[DayPart]) -> None:
    """Adds what sessions have on each day; the aggregates stay."""
    await tx.execute(f"INSERT INTO session_days ({DAYS.names}) SELECT * FROM {DAYS.recordset}", DAYS.rows(parts))


async def rebuild_aggregates(tx: Connection, user_id: str) -> int:
    """Makes the aggregates of a user from what the sessions have on each day; returns how many days differed."""
    cursor = await tx.execute(_REBUILD, {"user_id": user_id})
    [changed] = await cursor.fetchone() or (0,)
    return int(changed)


async def put_titles(tx: Connection, titles: Collection[tuple[str, str, str]]) -> None:
    """Stores the titles of tasks: user, task, title."""
    columns = [list(column) for column in zip(*sorted(titles), strict=True)] or [[], [], []]
    await tx.execute(
        """
        INSERT INTO task_titles AS stored (user_id, task_id, title)
        SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[])
        ON CONFLICT (user_id, task_id) DO UPDATE SET title = excluded.title WHERE stored.title <> excluded.title""",
        columns,
    )


async def purge(connection: Connection, limit: int) -> int:
    """Removes sessions that can no longer be undeleted, from the archive too; returns how many."""
    cursor = await connection.execute(
        """
        WITH gone AS (
            DELETE FROM recorded_sessions WHERE id IN (
                SELECT id FROM recorded_sessions WHERE purge_at <= now() ORDER BY purge_at LIMIT %s
                FOR UPDATE SKIP LOCKED)
            RETURNING id, archived_at
        ), of_archive AS (
            DELETE FROM sessions_archive USING gone
            WHERE sessions_archive.id = gone.id AND created_at = archived_at
        ), of_tasks AS (
            DELETE FROM session_tasks USING gone
            WHERE session_tasks.id = gone.id AND created_at = archived_at
        )
        SELECT count(*)::integer FROM gone""",
        (limit,),
    )
    [count] = await cursor.fetchone() or (0,)
    return int(count)


def to_json(intervals: Sequence[Interval]) -> Any:
    """Intervals as the column `intervals` has them."""
    return [[*each[:-1], [list(span) for span in each.spans]] for each in intervals]


def from_row(row: Recorded) -> Recorded:
    """A row as it is read, with its intervals."""
    intervals = tuple(Interval(*each[:-1], spans=tuple(map(Span._make, each[-1]))) for each in row.intervals)
    return row._replace(intervals=intervals)
