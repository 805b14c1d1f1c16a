"""What was planned in the calendar, and what came of it."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from mesh.database.columns import Columns, microseconds
from mesh.database.connection import Connection
from mesh.rpc.pagination import Key, Page
from mesh.runtime.clock import to_datetime
from services.history.model import PlanBucket, PlanFigures, PlanGroup, PlannedOccurrence

PLANNED = Columns(
    "planned_occurrences",
    PlannedOccurrence,
    {
        "user_id": "uuid",
        "event_id": "uuid",
        "slot": "text",
        "series_id": "uuid",
        "title": "text",
        "start_time": "timestamptz",
        "planned_minutes": "integer",
        "local_date": "date",
        "status": "text",
        "session_id": "uuid",
    },
)
_PAGE = 500
_ADD = f"""
    INSERT INTO planned_occurrences ({PLANNED.names}) SELECT * FROM {PLANNED.recordset}
    WHERE NOT EXISTS (
        SELECT FROM planned_occurrences AS known
        WHERE known.user_id = planned_occurrences_rows.user_id
            AND known.session_id = planned_occurrences_rows.session_id)
        AND NOT EXISTS (
        SELECT FROM planned_occurrences AS known
        WHERE known.user_id = planned_occurrences_rows.user_id
            AND known.series_id = planned_occurrences_rows.series_id AND known.slot = planned_occurrences_rows.slot)
    ON CONFLICT DO NOTHING"""
_TELL = f"""
    UPDATE planned_occurrences AS known SET status = told.status, session_id = told.session_id
    FROM (SELECT * FROM {PLANNED.recordset}) AS told
    WHERE known.user_id = told.user_id
        AND ((known.series_id = told.series_id AND known.slot = told.slot) OR known.session_id = told.session_id)"""


async def add(tx: Connection, occurrences: Sequence[PlannedOccurrence]) -> None:
    """Stores occurrences, unless they are stored: also under the event that they had when they were started."""
    await tx.execute(_ADD, PLANNED.rows(occurrences))


async def tell(tx: Connection, occurrences: Sequence[PlannedOccurrence]) -> None:
    """Stores what became of those of these occurrences that are stored."""
    await tx.execute(_TELL, PLANNED.rows(occurrences))


async def list_between(
    tx: Connection, user_id: str, since: int | None, until: int | None, after: PlannedOccurrence | None
) -> list[PlannedOccurrence]:
    """Reads a page of a user's occurrences that were planned to begin between two instants. after: the last before."""
    cursor = PLANNED.cursor(tx)
    await cursor.execute(
        f"""
        SELECT {PLANNED.select} FROM planned_occurrences
        WHERE user_id = %s::uuid AND start_time >= %s AND start_time < %s
            AND (%s::uuid IS NULL OR (start_time, event_id, slot) > (%s, %s::uuid, %s))
        ORDER BY planned_occurrences.start_time, planned_occurrences.event_id, slot LIMIT %s""",
        (
            user_id,
            "-infinity" if since is None else to_datetime(since),
            "infinity" if until is None else to_datetime(until),
            *((None, None, None, None) if after is None else (after.event_id, *_place(after))),
            _PAGE,
        ),
    )
    return await cursor.fetchall()


async def put_dates(tx: Connection, occurrences: Sequence[PlannedOccurrence]) -> None:
    """Stores on which dates of their users occurrences were."""
    await tx.execute(
        f"""
        UPDATE planned_occurrences AS known SET local_date = dated.local_date
        FROM (SELECT * FROM {PLANNED.recordset}) AS dated
        WHERE known.user_id = dated.user_id AND known.event_id = dated.event_id AND known.slot = dated.slot""",
        PLANNED.rows(occurrences),
    )


_LARGEST = 2**31 - 1
_SUMS = f"""
    count(*)::integer AS planned, least(coalesce(sum(planned_minutes), 0), {_LARGEST})::integer AS minutes,
    count(session_id)::integer AS started, (count(*) FILTER (WHERE status = 'completed'))::integer AS completed,
    (count(*) FILTER (WHERE status = 'planned' AND session_id IS NULL))::integer AS missed,
    least(coalesce(sum(focused), 0), {_LARGEST})::integer AS focused"""
_FIGURES = "planned, minutes, started, completed, missed, focused"
_PLANS = """
    WITH plan AS MATERIALIZED (
        SELECT planned_occurrences.*, worked.focused FROM planned_occurrences
        LEFT JOIN LATERAL (
            SELECT sum(focused_seconds) AS focused FROM session_days
            WHERE session_days.session_id = planned_occurrences.session_id
                AND session_days.user_id = planned_occurrences.user_id) AS worked ON session_id IS NOT NULL
        WHERE planned_occurrences.user_id = %(user_id)s::uuid AND local_date >= %(first)s::date
            AND local_date < %(before)s::date)"""
_LAST_TITLE = "(array_agg(title ORDER BY start_time DESC))[1] AS title"
_BY_OCCURRENCE = f"""
    SELECT local_date, event_id::text, series_id::text, slot, title, {microseconds("start_time")}, status,
        session_id::text, {_FIGURES}
    FROM (SELECT plan.local_date, event_id, series_id, slot, title, start_time, status, session_id, {_SUMS} FROM plan
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8) AS bucket
    WHERE %(after_id)s::uuid IS NULL
        OR (start_time, event_id, slot) > (%(after_time)s::timestamptz, %(after_id)s::uuid, %(after_slot)s)
    ORDER BY start_time, event_id, slot LIMIT %(limit)s"""
_BY_WEEK = f"""
    SELECT key, NULL, NULL, NULL, NULL, NULL::bigint, NULL, NULL, {_FIGURES}
    FROM (SELECT local_date - (extract(isodow FROM local_date)::integer - %(week_start)s::integer + 7) %% 7 AS key,
        {_SUMS} FROM plan GROUP BY 1) AS bucket
    WHERE %(after)s::date IS NULL OR key > %(after)s::date ORDER BY key LIMIT %(limit)s"""


def _by_id(event_id: str, key: str) -> str:
    return f"""
    SELECT NULL::date, {event_id}, series_id, NULL, title, NULL::bigint, NULL, NULL, {_FIGURES}
    FROM (SELECT {key}::text AS event_id, min(series_id::text) AS series_id, {_LAST_TITLE}, {_SUMS} FROM plan
        GROUP BY {key}) AS bucket
    WHERE %(after)s::integer IS NULL OR (-minutes, event_id) > (%(after)s::integer, %(after_id)s)
    ORDER BY -minutes, event_id LIMIT %(limit)s"""


_SUMMARIES = {
    group: f"""
    {_PLANS} SELECT total.*, bucket.* FROM (SELECT {_SUMS} FROM plan) AS total
    LEFT JOIN (SELECT row_number() OVER () AS rank, * FROM ({buckets}) AS bucket) AS bucket ON true ORDER BY rank"""
    for group, buckets in {
        PlanGroup.OCCURRENCE: _BY_OCCURRENCE,
        PlanGroup.EVENT: _by_id("event_id", "event_id"),
        PlanGroup.SERIES: _by_id("NULL", "series_id"),
        PlanGroup.WEEK: _BY_WEEK,
    }.items()
}
_WIDTH = len(PlanFigures._fields)


async def summarize(
    connection: Connection, user_id: str, first: date, before: date, group: PlanGroup, week_start: int, page: Page
) -> tuple[PlanFigures, list[PlanBucket]]:
    """Adds up what was planned in a window of dates, as a whole and by group; one group more than the page holds.

    One statement, so that both count the same occurrences.
    """
    after, after_id, after_slot = page.after if page.after is not None else (None, None, None)
    values: dict[str, Any] = {
        **{"user_id": user_id, "first": first, "before": before, "limit": page.limit(), "week_start": week_start},
        **{"after": after, "after_id": after_id, "after_slot": after_slot},
    }
    if group is PlanGroup.OCCURRENCE:
        values["after_time"] = None if after is None else to_datetime(int(after))
    rows = await (await connection.execute(_SUMMARIES[group], values)).fetchall()
    found = [row[_WIDTH + 1 :] for row in rows if row[_WIDTH] is not None]
    figures = PlanFigures._make
    return figures(rows[0][:_WIDTH]), [PlanBucket._make((*row[:-_WIDTH], figures(row[-_WIDTH:]))) for row in found]


def bucket_key(bucket: PlanBucket) -> Key:
    """The sort key of a group."""
    if bucket.start_time is not None:
        return [bucket.start_time, bucket.event_id, bucket.slot]
    if bucket.date is not None:
        return [bucket.date.isoformat(), None, None]
    return [-bucket.figures.planned_minutes, bucket.event_id or bucket.series_id, None]


def _place(occurrence: PlannedOccurrence) -> tuple[Any, ...]:
    """Where an occurrence is in the order of their starts."""
    return to_datetime(occurrence.start_time), occurrence.event_id, occurrence.slot
