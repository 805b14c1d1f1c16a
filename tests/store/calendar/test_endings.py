"""What has ended is published once and in order, with any number of replicas."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from harness.waiting import until
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.recurrence.zones import to_instant, to_wall
from mesh.runtime import clock
from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.ids import new_id
from services.calendar.jobs.endings import OccurrenceEnder
from services.calendar.model import CalendarEvent
from services.calendar.rules import changes
from services.calendar.store import users
from services.calendar.store.changes import save
from tests.store.calendar.kept import kept
from tests.support.calendar_model import USER, ZONE, a_row, an_event

HOUR = 3600 * SECOND


async def messages(db: Database) -> list[dict[str, Any]]:
    """The envelopes of the outbox, in order."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox ORDER BY seq")
        return [orjson.loads(value) for (value,) in await cursor.fetchall()]


async def ended(db: Database) -> list[tuple[str, str]]:
    """Event and slot of what was said to have ended, in order."""
    return [
        (each["subject"], each["data"]["payload"]["occurrence"]["slot"])
        for each in await messages(db)
        if each["type"] == "occurrence-ended"
    ]


async def run(db: Database) -> int:
    """Ends everything that has to be; returns how many events that was about."""
    ender, done = OccurrenceEnder(db), 0
    while count := await ender.run_once():
        done += count
    return done


async def living_in(db: Database, zone: str = ZONE, user_id: str = USER) -> str:
    """A user of whom it is known where they are."""
    async with db.connection() as connection:
        await users.learn_zone(connection, user_id, zone)
    return user_id


def ago(**span: float) -> str:
    """The local time in ZONE so long ago, to the minute."""
    return (to_wall(clock.now(), ZONE).replace(second=0, microsecond=0) - timedelta(**span)).isoformat()


def since(days: int) -> int:
    """The instant so many days ago."""
    return clock.now() - days * DAY


async def daily(db: Database, start: str, **fields: Any) -> CalendarEvent:
    """A daily event which was created long ago."""
    event, _ = await kept(db, an_event(start, "FREQ=DAILY", id=new_id(), **({"created_at": since(30)} | fields)))
    return event


def later(slot: str, days: int) -> str:
    """The slot so many days later."""
    return (datetime.fromisoformat(slot) + timedelta(days=days)).isoformat()


async def test_what_ended_during_an_outage_is_published_in_the_order_of_the_ends(db: Database) -> None:
    await living_in(db)
    first, second = ago(days=5, hours=3), ago(days=4, hours=9)
    one, two = await daily(db, first), await daily(db, second)
    assert await run(db) > 0
    slots = [(one.id, later(first, day)) for day in range(6)] + [(two.id, later(second, day)) for day in range(5)]
    assert await ended(db) == sorted(slots, key=lambda each: each[1])
    assert await run(db) == 0


async def test_each_message_is_a_version_of_its_event_and_shows_the_occurrence(db: Database) -> None:
    await living_in(db)
    start = ago(days=1, hours=3)
    event = await daily(db, start)
    await run(db)
    found = await messages(db)
    assert [int(each["sequence"]) for each in found] == [2, 3]
    shown = found[0]["data"]["payload"]["occurrence"]
    assert (shown["occurrence_id"].partition("_")[0], shown["slot"], shown["status"]) == (event.id, start, "planned")


async def test_three_replicas_publish_each_end_once_and_those_of_a_user_in_order(replicas: list[Database]) -> None:
    start = ago(days=6, hours=2)
    for user_id in [new_id() for _ in range(6)]:
        await living_in(replicas[0], user_id=user_id)
        for index in range(12):
            await daily(replicas[0], later(start, 0)[:-5] + f"{index:02}:00", user_id=user_id)
    await asyncio.gather(*map(run, replicas))
    # A replica stops while others hold the rest.
    await run(replicas[0])
    found = await messages(replicas[0])
    assert len({each["id"] for each in found}) == len(found) == 6 * 12 * 7
    for user_id in {each["partitionkey"] for each in found}:
        ends = [each["data"]["payload"]["occurrence"]["end_time"] for each in found if each["partitionkey"] == user_id]
        assert ends == sorted(ends)


async def test_more_than_one_pass_can_hold_is_published_in_order_too(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OccurrenceEnder, "most", 5)
    monkeypatch.setattr(OccurrenceEnder, "batch", 3)
    await living_in(db)
    start = ago(days=9, hours=5)
    events = [await daily(db, later(start, index % 3)) for index in range(5)]
    await run(db)
    found = await ended(db)
    assert len(found) == len(set(found)) == sum(10 - index % 3 for index in range(len(events)))
    assert [slot for _, slot in found] == sorted(slot for _, slot in found)


async def test_an_event_that_is_created_in_the_past_ends_nothing(db: Database) -> None:
    await living_in(db)
    await daily(db, ago(days=20, hours=1, minutes=30), created_at=clock.now())
    await run(db)
    assert await ended(db) == []


async def test_what_is_cancelled_does_not_end_what_is_completed_does_and_what_was_moved_does_where_it_is(
    db: Database,
) -> None:
    await living_in(db)
    start = ago(days=3, hours=5)
    rows = [
        a_row(start, status="cancelled"),
        a_row(later(start, 1), status="completed"),
        a_row(later(start, 2), moved_to=ago(hours=2)),
        a_row(later(start, 3), moved_to=ago(hours=-5)),
        a_row(later(start, 4), moved_to=ago(hours=3)),
    ]
    event, _ = await kept(db, an_event(start, "FREQ=DAILY", id=new_id(), created_at=since(30)), *rows)
    await run(db)
    assert await ended(db) == [(event.id, later(start, days)) for days in (1, 4, 2)]


async def test_an_all_day_event_ends_where_its_user_is(db: Database) -> None:
    await living_in(db, "Pacific/Kiritimati")
    today = to_wall(clock.now(), "Pacific/Kiritimati").date()
    days = [(today - timedelta(days=back)).isoformat() for back in (1, 0)]
    async with db.transaction() as tx:
        made = changes.created(
            an_event(days[0], "FREQ=DAILY", minutes=1440, created_at=since(2)), {}, "Pacific/Kiritimati"
        )
        await save(tx, [made], SideEffects((), None, ""))
    await run(db)
    assert await ended(db) == [(made.event.id, days[0])]


async def test_an_edit_during_an_outage_loses_nothing_and_a_move_into_the_past_ends_nothing(db: Database) -> None:
    await living_in(db)
    start = ago(days=2, hours=5)
    event, rows = await kept(db, an_event(start, "FREQ=DAILY", id=new_id(), created_at=since(30)))
    ahead = a_row(later(start, 9), moved_to=ago(days=3), event_id=event.id)
    edited = changes.changed(event, event._replace(title="Other"), rows, {ahead.slot: ahead}, ZONE, clock.now())
    async with db.transaction() as tx:
        await save(tx, [edited], SideEffects((), None, ""))
    await run(db)
    assert await ended(db) == [(event.id, later(start, days)) for days in range(3)]


async def test_one_that_is_moved_ahead_after_it_ended_ends_there_with_the_same_message_id(db: Database) -> None:
    await living_in(db)
    start = ago(hours=2)
    event, rows = await kept(db, an_event(start, id=new_id(), created_at=since(30)))
    await run(db)
    [before] = await messages(db)
    async with db.connection() as connection:
        await connection.execute("UPDATE events SET next_end_at = scheduled_start + interval '1 hour'")
    assert await run(db) == 1
    assert await messages(db) == [before]
    async with db.connection() as connection:
        await connection.execute("DELETE FROM outbox")
        await connection.execute("UPDATE events SET next_end_at = scheduled_start + interval '1 hour'")
    await run(db)
    assert [each["id"] for each in await messages(db)] == [before["id"]]
    assert (event.id, rows) == (before["subject"], {})


async def test_nothing_of_a_subscription_or_a_deleted_event_ends(db: Database) -> None:
    await living_in(db)
    await daily(db, ago(days=2, hours=5), subscription_id=new_id(), uid="a")
    await daily(db, ago(days=2, hours=5), deleted_at=since(1), purge_at=since(-9))
    assert await run(db) == 0


async def test_an_end_is_published_at_its_instant_and_not_before(db: Database) -> None:
    await living_in(db)
    begin = clock.now()
    local = to_wall(begin, ZONE).replace(microsecond=0) + timedelta(seconds=1)
    event, _ = await kept(db, an_event(local.isoformat(), id=new_id(), length_seconds=1, created_at=begin))
    ender = OccurrenceEnder(db)
    ender.start()
    try:

        async def is_there() -> bool:
            return bool(await ended(db))

        await until(is_there, "the end is published")
    finally:
        await ender.close()
    end = to_instant(local, ZONE)[0] + SECOND
    [message] = await messages(db)
    at = datetime.fromisoformat(message["time"]).timestamp() * SECOND
    assert end <= at < end + 2 * SECOND
    assert message["subject"] == event.id
