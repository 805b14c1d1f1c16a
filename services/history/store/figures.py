"""What the intervals of users add up to."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from mesh.database.connection import Connection
from mesh.rpc.pagination import Key, Page
from services.history.model import Bucket, Figures, Group

_DAY_SUMS = """
    sum(total_focused_seconds)::integer AS focused, sum(total_break_seconds)::integer AS breaks,
    sum(total_pomodoros)::integer AS pomodoros, sum(total_planned_seconds)::integer AS planned"""
_PART_SUMS = """
    sum(focused_seconds)::integer AS focused, sum(break_seconds)::integer AS breaks,
    sum(pomodoro_count)::integer AS pomodoros, sum(planned_seconds)::integer AS planned"""
_FROM_DAYS = """
    FROM daily_user_aggregates
    WHERE user_id = %(user_id)s::uuid AND date_date >= %(first)s::date AND date_date < %(before)s::date"""
_FROM_PARTS = """
    FROM session_days
    WHERE user_id = %(user_id)s::uuid AND local_date >= %(first)s::date AND local_date < %(before)s::date"""
_DATES = {
    Group.DAY: "date_date",
    Group.WEEK: "date_date - (extract(isodow FROM date_date)::integer - %(week_start)s::integer + 7) %% 7",
    Group.MONTH: "date_trunc('month', date_date::timestamp)::date",
    Group.YEAR: "date_trunc('year', date_date::timestamp)::date",
}
_NUMBERS = {
    Group.HOUR: ("hour::integer", _PART_SUMS, _FROM_PARTS),
    Group.WEEKDAY: ("extract(isodow FROM date_date)::integer", _DAY_SUMS, _FROM_DAYS),
}
_TOTAL = f"""
    SELECT coalesce(focused, 0), coalesce(breaks, 0), coalesce(pomodoros, 0), coalesce(planned, 0)
    FROM (SELECT {_DAY_SUMS} {_FROM_DAYS}) AS total"""
_NO_DATE, _NO_NUMBER, _NO_TEXT = "NULL::date", "NULL::integer", "NULL::text"
_BY_DATE = {
    group: f"""
    SELECT key, {_NO_NUMBER}, {_NO_TEXT}, {_NO_TEXT}, focused, breaks, pomodoros, planned
    FROM (SELECT {key} AS key, {_DAY_SUMS} {_FROM_DAYS} GROUP BY 1) AS bucket
    WHERE %(after)s::date IS NULL OR key > %(after)s::date ORDER BY key LIMIT %(limit)s"""
    for group, key in _DATES.items()
}
_BY_NUMBER = {
    group: f"""
    SELECT {_NO_DATE}, key, {_NO_TEXT}, {_NO_TEXT}, focused, breaks, pomodoros, planned
    FROM (SELECT {key} AS key, {sums} {rows} GROUP BY 1) AS bucket
    WHERE %(after)s::integer IS NULL OR key > %(after)s::integer ORDER BY key LIMIT %(limit)s"""
    for group, (key, sums, rows) in _NUMBERS.items()
}
_NO_TASK = "'00000000-0000-0000-0000-000000000000'::uuid"
_BY_TASK = f"""
    SELECT {_NO_DATE}, {_NO_NUMBER}, bucket.task_id::text, title, focused, breaks, pomodoros, planned
    FROM (SELECT task_id, {_PART_SUMS} {_FROM_PARTS} GROUP BY 1) AS bucket
    LEFT JOIN task_titles ON task_titles.user_id = %(user_id)s::uuid AND task_titles.task_id = bucket.task_id
    WHERE %(after)s::integer IS NULL
        OR (-focused, coalesce(bucket.task_id, {_NO_TASK})) > (%(after)s::integer, %(after_id)s::uuid)
    ORDER BY -focused, coalesce(bucket.task_id, {_NO_TASK}) LIMIT %(limit)s"""
_SUMMARIES = {
    group: f"""
    SELECT total.*, bucket.* FROM ({_TOTAL}) AS total
    LEFT JOIN (SELECT row_number() OVER () AS rank, * FROM ({buckets}) AS bucket) AS bucket ON true ORDER BY rank"""
    for group, buckets in (_BY_DATE | _BY_NUMBER | {Group.TASK: _BY_TASK}).items()
}
_SUMS = len(Figures._fields)
_NOBODY = "00000000-0000-0000-0000-000000000000"


async def summarize(
    connection: Connection, user_id: str, first: date, before: date, group: Group, week_start: int, page: Page
) -> tuple[Figures, list[Bucket]]:
    """Adds up a window of dates, as a whole and by group; one group more than the page holds.

    One statement, so that both count the same sessions.
    """
    after, after_id = page.after if page.after is not None else (None, None)
    values: dict[str, Any] = {
        **{"user_id": user_id, "first": first, "before": before, "limit": page.limit()},
        **{"after": after, "after_id": after_id, "week_start": week_start},
    }
    rows = await (await connection.execute(_SUMMARIES[group], values)).fetchall()
    found = [row[_SUMS + 1 :] for row in rows if row[_SUMS] is not None]
    return Figures._make(rows[0][:_SUMS]), [Bucket._make((*row[:-_SUMS], Figures._make(row[-_SUMS:]))) for row in found]


def bucket_key(bucket: Bucket) -> Key:
    """The sort key of a group."""
    if bucket.date is not None:
        return [bucket.date.isoformat(), None]
    if bucket.number is not None:
        return [bucket.number, None]
    return [-bucket.figures.focused_seconds, bucket.task_id or _NOBODY]


async def list_days(connection: Connection, user_id: str, first: date, before: date) -> list[tuple[date, Figures]]:
    """Reads the days of a window, in order."""
    cursor = await connection.execute(
        f"""
        SELECT date_date, total_focused_seconds, total_break_seconds, total_pomodoros, total_planned_seconds
        {_FROM_DAYS} ORDER BY date_date""",
        {"user_id": user_id, "first": first, "before": before},
    )
    return [(day, Figures(*sums)) for day, *sums in await cursor.fetchall()]


async def list_qualifying(connection: Connection, user_id: str, *, seconds: int, pomodoros: int) -> Sequence[date]:
    """Reads the dates with so many seconds worked and so many pomodoros."""
    cursor = await connection.execute(
        """
        SELECT date_date FROM daily_user_aggregates
        WHERE user_id = %s::uuid AND total_focused_seconds >= %s AND total_pomodoros >= %s""",
        (user_id, seconds, pomodoros),
    )
    return [day for (day,) in await cursor.fetchall()]
