"""What has ended, over the broker: from three replicas of the calendar, after an outage."""

import asyncio
from datetime import UTC, datetime, timedelta

from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime import clock
from mesh.runtime.clock import DAY
from mesh.runtime.ids import new_id
from services.calendar.store import users
from tests.events.calendar.replicas import Replicas, published
from tests.store.calendar.kept import kept
from tests.support.calendar_model import a_row, an_event

EVENTS, DAYS = 30, 4
TOPIC = "calendar-events"


async def test_three_replicas_publish_what_an_outage_kept_back_once_each_and_in_the_order_of_the_ends(
    db: Database, replicas: Replicas, kafka: str
) -> None:
    user_id, first = new_id(), datetime.now(UTC).replace(microsecond=0, tzinfo=None) - timedelta(days=DAYS - 1, hours=6)
    async with db.connection() as connection:
        await users.learn_zone(connection, user_id, "UTC")
    for minutes in range(EVENTS):
        start = first + timedelta(minutes=5 * minutes)
        cancelled = a_row(start.isoformat(), status="cancelled")
        fields = {"user_id": user_id, "time_zone": "UTC", "created_at": clock.now() - 10 * DAY}
        await kept(db, an_event(start.isoformat(), "FREQ=DAILY", id=new_id(), **fields), cancelled)
    await replicas.start()
    found = await asyncio.to_thread(published, kafka, TOPIC, user_id, EVENTS * (DAYS - 1))
    slots = {(each["subject"], each["data"]["payload"]["occurrence"]["slot"]) for each in found}
    assert len(found) == len(slots) == EVENTS * (DAYS - 1)
    assert {each["type"] for each in found} == {"occurrence-ended"}
    ends = [each["data"]["payload"]["occurrence"]["end_time"] for each in found]
    assert ends == sorted(ends)


async def test_an_occurrence_that_ends_while_the_calendar_runs_is_published_within_seconds(
    db: Database, replicas: Replicas, kafka: str
) -> None:
    await replicas.start()
    user_id, now = new_id(), clock.now()
    async with db.connection() as connection:
        await users.learn_zone(connection, user_id, "UTC")
    start = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    event = an_event(start.isoformat(), id=new_id(), user_id=user_id, time_zone="UTC", created_at=now)
    await kept(db, event._replace(length_seconds=2))
    [found] = await asyncio.to_thread(published, kafka, TOPIC, user_id, 1)
    end = (start + timedelta(seconds=2)).replace(tzinfo=UTC)
    assert datetime.fromisoformat(found["time"]) >= end
    assert found["data"]["calendar_event_id"] == event.id
    await until(lambda: _ended(db, event.id), "nothing of it is to end")


async def _ended(db: Database, event_id: str) -> bool:
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT next_end_at FROM events WHERE id = %s::uuid", (event_id,))
        return await cursor.fetchone() == (None,)
