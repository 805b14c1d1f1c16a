"""Of each reminder of an event the next firing."""

from collections.abc import Iterable, Sequence
from typing import Any

from mesh.database.columns import Columns, microseconds
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Key, Page
from mesh.runtime.slices import in_slices
from services.calendar.model import CalendarEvent, Change, DueReminder, OccurrenceRow, Upcoming
from services.calendar.store.events import EVENTS
from services.calendar.store.occurrences import ROWS

REMINDERS = Columns(
    "event_reminders",
    DueReminder,
    {
        "event_id": "uuid",
        "reminder": "text",
        "user_id": "uuid",
        "remind_at": "timestamptz",
        "slot": "text",
    },
    fixed={"event_id", "reminder", "user_id"},
)


async def recompute(tx: Connection, changes: Sequence[Change]) -> None:
    """Writes the next firings of events that were written just now, which are locked."""
    known = [change.event.id for change in changes if change.before is not None]
    stored = await _lock_of(tx, known) if known else []
    series = {change.event.id: change.event.series_id for change in changes}
    of_series: dict[str, list[DueReminder]] = {}
    for due in stored:
        of_series.setdefault(series[due.event_id], []).append(due)
    made = await in_slices(
        change.remind(
            due
            for due in of_series.get(change.event.series_id, ())
            if due.event_id == change.event.id or change.before is None
        )
        for change in changes
    )
    put = [due for some in made for due in some]
    await remove(tx, {_key(due) for due in stored}.difference(map(_key, put)))
    await put_reminders(tx, sorted(set(put).difference(stored), key=_key))


async def _lock_of(tx: Connection, event_ids: Sequence[str]) -> list[DueReminder]:
    cursor = REMINDERS.cursor(tx)
    await cursor.execute(
        f"""
        SELECT {REMINDERS.select} FROM event_reminders WHERE event_id = ANY(%s::uuid[])
        ORDER BY event_id, reminder FOR UPDATE""",
        (list(event_ids),),
    )
    return await cursor.fetchall()


async def put_reminders(tx: Connection, put: Sequence[DueReminder]) -> None:
    """Writes next firings."""
    if put:
        assignments = REMINDERS.assignments_of_rows.replace("event_reminders_rows.", "excluded.")
        await tx.execute(
            f"""
            INSERT INTO event_reminders ({REMINDERS.names}) SELECT * FROM {REMINDERS.recordset}
            ON CONFLICT (event_id, reminder) DO UPDATE SET {assignments}""",
            REMINDERS.rows(put),
        )


async def remove(tx: Connection, gone: Iterable[tuple[str, str]]) -> None:
    """Removes reminders, by event and name, that do not fire any more."""
    if keys := sorted(gone):
        await tx.execute(
            """
            DELETE FROM event_reminders USING unnest(%s::uuid[], %s::text[]) AS gone (id, name)
            WHERE event_id = gone.id AND reminder = gone.name""",
            ([event_id for event_id, _ in keys], [name for _, name in keys]),
        )


_DUE = f"""
    SELECT {REMINDERS.select}, {microseconds("now()")} FROM event_reminders WHERE remind_at <= now()
    ORDER BY event_reminders.remind_at LIMIT %s FOR UPDATE SKIP LOCKED"""


async def claim_due(tx: Connection, limit: int) -> tuple[list[DueReminder], int]:
    """Locks reminders that are due and that no other replica has locked; returns the time of the database too.

    What is read of their events after that is as the last change left it, or as it was before one that waits for this.
    """
    cursor = await tx.cursor(binary=True).execute(_DUE, (limit,))
    found = await cursor.fetchall()
    return [DueReminder(*row[:-1]) for row in found], max((row[-1] for row in found), default=0)


_FIRED = """
    SELECT event_id FROM event_reminders JOIN unnest(%(events)s::uuid[], %(names)s::text[]) AS due (id, name)
        ON event_id = due.id AND reminder = due.name"""


async def fire(
    tx: Connection, due: Sequence[DueReminder], following: Sequence[DueReminder], side_effects: SideEffects
) -> None:
    """Writes what follows on locked reminders that fired, together with their messages."""
    values = {"events": [each.event_id for each in due], "names": [each.reminder for each in due]}
    await outbox.write(tx, _FIRED, values, side_effects)
    await put_reminders(tx, following)
    await remove(tx, set(map(_key, due)).difference(map(_key, following)))


async def seconds_until_due(connection: Connection) -> float | None:
    """Seconds until the next reminder is due; None without one."""
    cursor = await connection.execute(
        "SELECT extract(epoch FROM min(remind_at) - clock_timestamp())::float8 FROM event_reminders"
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


_UPCOMING = ", ".join((REMINDERS.select, EVENTS.select.replace("events.description", "NULL::text"), ROWS.select))


async def list_upcoming(connection: Connection, user_id: str, page: Page) -> list[Upcoming]:
    """Reads one reminder more than the page holds, the next one first, with its event and the row of its occurrence."""
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit()}
    after = ""
    if page.after is not None:
        values["remind_at"], values["event_id"], values["name"] = page.after
        instant = "'epoch'::timestamptz + %(remind_at)s * interval '1 microsecond'"
        after = f" AND (remind_at, event_reminders.event_id, reminder) > ({instant}, %(event_id)s::uuid, %(name)s)"
    cursor = await connection.cursor(binary=True).execute(
        f"""
        SELECT {_UPCOMING} FROM event_reminders JOIN events ON events.id = event_reminders.event_id
            LEFT JOIN occurrences ON occurrences.event_id = events.id AND occurrences.slot = event_reminders.slot
        WHERE event_reminders.user_id = %(user_id)s::uuid{after}
        ORDER BY remind_at, event_reminders.event_id, reminder LIMIT %(limit)s""",
        values,
    )
    first, second = len(DueReminder._fields), len(DueReminder._fields) + len(CalendarEvent._fields)
    return [
        Upcoming(
            DueReminder(*row[:first]),
            CalendarEvent(*row[first:second]),
            None if row[second] is None else OccurrenceRow(*row[second:]),
        )
        for row in await cursor.fetchall()
    ]


def upcoming_key(upcoming: Upcoming) -> Key:
    """The sort key of a reminder in the list."""
    due = upcoming.due
    return [due.remind_at, due.event_id, due.reminder]


def _key(due: DueReminder) -> tuple[str, str]:
    return due.event_id, due.reminder
