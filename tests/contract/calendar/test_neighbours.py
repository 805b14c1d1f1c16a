"""A second user's calls while the largest calendar of a first one is listed, changed and ended."""

import grpc
import pytest
from focusmesh.calendar.v1 import event_pb2

from harness.waiting import until
from mesh.database.pool import Database
from services.calendar.jobs.endings import OccurrenceEnder
from services.calendar.model import MOST_EVENTS, MOST_ROWS
from tests.contract.calendar.person import Person, timestamp
from tests.support.neighbours import disturbance
from tests.support.tokens import Signer

pytestmark = pytest.mark.alone

FULL = OccurrenceEnder.batch
"""Events with as many rows as may be; each of 5,000 would take minutes to write, and a list reads no more of them."""
ROWS = 5
"""Of the others."""
WINDOW = {"start_time": timestamp("2026-11-01T00:00:00Z"), "end_time": timestamp("2026-12-01T00:00:00Z")}
_EVENTS = """
    INSERT INTO events (user_id, title, scheduled_start, duration_minutes, repeat_type, status, start_slot, time_zone,
        length_days, length_seconds, rule, reminders, series_id)
    SELECT %(user)s::uuid, repeat(E'\\x01', 255), at AT TIME ZONE 'Europe/Zurich', 50, 'daily', 'planned',
        to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS'), 'Europe/Zurich', 40, 0,
        '{"frequency": "daily", "month_end": "clamp"}',
        (SELECT jsonb_agg(jsonb_build_object('offset', '-P' || day || 'D', 'channel', 'in_app'))
            FROM generate_series(1, 10) AS day),
        uuidv7()
    FROM (SELECT timestamp '2026-01-01' + number * interval '7 minutes' AS at
        FROM generate_series(1, %(events)s) AS number) AS numbered"""
_ROWS = """
    INSERT INTO occurrences (event_id, slot, user_id, status, title, start_slot, start_time)
    SELECT id, to_char(start_slot::timestamp + day * interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS'), user_id,
        CASE WHEN day %% 3 = 0 THEN 'cancelled' ELSE 'planned' END, repeat(E'\\x01', 255),
        '2026-11-10T09:00:00', '2026-11-10 08:00:00Z'
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS number FROM events WHERE user_id = %(user)s::uuid) AS event,
        generate_series(0, %(most)s - 1) AS day
    WHERE number <= %(full)s OR day < %(rows)s"""


async def the_largest(person: Person, db: Database) -> list[str]:
    """Gives somebody as many events as may be; the ids of those with as many rows as may be."""
    values = {"user": person.user_id, "events": MOST_EVENTS, "full": FULL, "rows": ROWS, "most": MOST_ROWS}
    async with db.transaction() as connection:
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute(_EVENTS, values)
        await connection.execute(_ROWS, values)
        await connection.execute("ANALYZE events, occurrences")
        cursor = await connection.execute(
            "SELECT id::text FROM events WHERE user_id = %s::uuid ORDER BY id LIMIT %s", (person.user_id, FULL)
        )
        return [id_ for (id_,) in await cursor.fetchall()]


async def first_slot(person: Person, event_id: str) -> str:
    """The id of the first occurrence of an event, which has a row."""
    start = (await person.get(event_id)).start
    return f"{event_id}_{start.replace('-', '').replace(':', '')}"


async def nothing_has_to_end(db: Database) -> bool:
    """Whether the service has published everything that ended."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT FROM events WHERE next_end_at <= now() LIMIT 1")
        return await cursor.fetchone() is None


@pytest.mark.timeout(180)
async def test_the_largest_calendar_of_one_user_does_not_disturb_another(
    channel: grpc.aio.Channel, db: Database, signer: Signer
) -> None:
    person = await Person.living_in("Europe/Zurich", channel, signer, db)
    other = await person.another()
    full = await the_largest(person, db)
    occurrence_id = await first_slot(person, full[0])

    async def live() -> None:
        token = ""
        for _ in range(3):
            page = await person.occurrences.ListOccurrences(**WINDOW, page_size=200, page_token=token, timeout=60)
            assert len(page.occurrences) == 200
            token = page.next_page_token
        moved = {"start_time": timestamp("2026-11-10T08:00:00Z"), "end_time": timestamp("2026-11-10T08:00:01Z")}
        await person.occurrences.ListOccurrences(**moved, page_size=200, timeout=60)
        cancelled = [event_pb2.EVENT_STATE_CANCELLED]
        await person.occurrences.ListOccurrences(**WINDOW, page_size=200, states=cancelled, timeout=60)
        for call, fields in (
            ("RestoreOccurrence", {}),
            ("MoveOccurrence", {"start": "2026-11-11T10:00:00"}),
            ("CompleteOccurrence", {}),
        ):
            await getattr(person.occurrences, call)(occurrence_id=occurrence_id, timeout=60, **fields)
        async with db.connection() as connection:
            await connection.execute(
                "UPDATE events SET next_end_at = now() - interval '2 days' WHERE id = ANY(%s::uuid[])", (full,)
            )
        await until(lambda: nothing_has_to_end(db), "everything that ended is published", 60)

    (await disturbance(live(), lambda: other.events.ListEvents(timeout=60))).check()
