"""The rows that the benchmark begins with, on calendar's tables as they are."""

from datetime import datetime

import psycopg

from bench.calendar import ZONE, seed
from mesh.database.pool import Database
from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import DAY
from mesh.runtime.ids import new_id
from services.calendar.handlers.listing import list_occurrences
from services.calendar.model import OccurrenceFilter, Window
from services.calendar.store import users
from services.calendar.wire.occurrences import occurrence_id_from_pb


async def test_series_of_the_benchmark_fit_into_the_tables_and_are_listed(postgres: str, db: Database) -> None:
    user_id = new_id()
    with psycopg.connect(postgres, autocommit=True) as connection:
        made = seed(connection, [user_id, new_id()], 3)
    async with db.connection() as opened:
        assert await users.zone_of(opened, user_id) == ZONE
    [(_, event_id, slot), *others] = [each for each in made if each[0] == user_id]
    begin = to_instant(datetime.fromisoformat(slot), ZONE)[0]
    page = await list_occurrences(db, user_id, Window(begin, begin + 2 * DAY, ZONE), OccurrenceFilter(), 200)
    assert len(others) == 2
    assert len(page.occurrences) == 6
    assert occurrence_id_from_pb(page.occurrences[0].id) == (event_id, slot)
