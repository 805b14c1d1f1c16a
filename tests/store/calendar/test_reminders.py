"""Reminders of events in the tables: each fires once, never early, with any number of replicas."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from focusmesh.calendar.events.v1.reminder_event_pb2 import EventReminderEvent, EventReminderSnapshot

from harness.waiting import until
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.recurrence.zones import to_instant, to_wall
from mesh.rpc.pagination import Page
from mesh.runtime import clock
from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.ids import new_id
from services.calendar.jobs.reminding import ReminderFirer
from services.calendar.model import CalendarEvent, OccurrenceRow
from services.calendar.rules import changes
from services.calendar.store import events, occurrences, reminders, users
from services.calendar.store.changes import save
from tests.store.calendar.kept import kept
from tests.support.calendar_model import USER, ZONE, a_row, an_event, rows_of
from tests.support.databases import lock_waits
from tests.support.neighbours import disturbance
from tests.support.plans import plan_of

NOTHING = SideEffects((), None, "")
TEN_MINUTES = [{"offset": "-PT10M", "channel": "in_app"}]


async def living_in(db: Database, zone: str = ZONE, user_id: str = USER) -> str:
    """A user of whom it is known where they are."""
    async with db.connection() as connection:
        await users.learn_zone(connection, user_id, zone)
    return user_id


def ago(**span: float) -> str:
    """The local time in ZONE so long ago."""
    return (to_wall(clock.now(), ZONE).replace(microsecond=0) - timedelta(**span)).isoformat()


def later(slot: str, days: int) -> str:
    """The slot so many days later."""
    return (datetime.fromisoformat(slot) + timedelta(days=days)).isoformat()


def ten_minutes_before(slot: str) -> datetime:
    """The instant of a reminder of what begins at a local time in ZONE."""
    return clock.to_datetime(to_instant(datetime.fromisoformat(slot), ZONE)[0]) - timedelta(minutes=10)


async def made(
    db: Database, start: str, rule: str | None = "FREQ=DAILY", *, days_old: int = 30, **fields: Any
) -> CalendarEvent:
    """An event with a reminder, which was created some days ago; what was due since then waits as after an outage."""
    event_id, created = new_id(), clock.now() - days_old * DAY
    given: dict[str, Any] = {"reminders": TEN_MINUTES, "created_at": created} | fields
    event, _ = await kept(db, an_event(start, rule, id=event_id, series_id=event_id, **given))
    return event


async def change(
    db: Database, event: CalendarEvent, *rows: OccurrenceRow, new: CalendarEvent | None = None, **fields: Any
) -> CalendarEvent:
    """The event, changed now. rows: all that it has now. new: an event that is split off from it."""
    own = rows_of(*(row._replace(event_id=event.id, user_id=event.user_id) for row in rows))
    async with db.transaction() as tx:
        before = await events.lock_event(tx, event.user_id, event.id)
        rows_before = await occurrences.all_rows(tx, event.id)
        made = changes.changed(before, before._replace(**fields), rows_before, own, ZONE, clock.now())
        split = [] if new is None else [changes.created(new, {}, ZONE)]
        await save(tx, [made, *split], NOTHING)
    return made.event


async def run(db: Database) -> int:
    """Fires what is due; returns how much that was."""
    firer, done = ReminderFirer(db), 0
    while count := await firer.run_once():
        done += count
    return done


async def messages(db: Database) -> list[dict[str, Any]]:
    """The envelopes of the outbox, in order."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox ORDER BY seq")
        return [orjson.loads(value) for (value,) in await cursor.fetchall()]


async def fired(db: Database) -> list[str | None]:
    """The slots that were reminded of, in order."""
    return [each["data"]["payload"]["slot"] for each in await messages(db)]


async def waiting(db: Database) -> list[tuple[datetime, str | None]]:
    """Instants and slots of the next firings, in order."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT remind_at, slot FROM event_reminders ORDER BY remind_at, slot")
        return await cursor.fetchall()


async def test_what_an_outage_kept_back_fires_once_each_with_three_replicas(replicas: list[Database]) -> None:
    start = ago(days=2, hours=2)
    for user_id in [new_id() for _ in range(10)]:
        await living_in(replicas[0], user_id=user_id)
        for _ in range(30):
            await made(replicas[0], start, user_id=user_id)
    assert sum(await asyncio.gather(*map(run, replicas))) == 900
    found = await messages(replicas[0])
    assert len({each["id"] for each in found}) == len(found) == 900
    assert {each["data"]["payload"]["slot"] for each in found} == {later(start, day) for day in range(3)}
    assert await waiting(replicas[0]) == [(ten_minutes_before(later(start, 3)), later(start, 3))] * 300
    assert await run(replicas[0]) == 0


async def test_a_reminder_is_published_as_its_contract_says(db: Database) -> None:
    await living_in(db)
    start = ago(hours=2)
    event = await made(db, start, None, title="Deep work")
    assert await run(db) == 1
    [message] = await messages(db)
    assert (message["type"], message["source"], message["subject"]) == (
        "reminder-fired",
        "/focusmesh/calendar",
        event.id,
    )
    assert int(message["sequence"]) == event.version
    data, payload = message["data"], message["data"]["payload"]
    assert set(data) == {field.name for field in EventReminderEvent.DESCRIPTOR.fields}
    assert set(payload) == {field.name for field in EventReminderSnapshot.DESCRIPTOR.fields}
    assert (data["task_id"], data["calendar_event_id"]) == (None, event.id)
    begin = ten_minutes_before(start) + timedelta(minutes=10)
    instants = {
        "reminder_time": begin - timedelta(minutes=10),
        "start_time": begin,
        "end_time": begin + timedelta(hours=1),
    }
    for name, at in instants.items():
        assert datetime.fromisoformat(payload.pop(name)) == at
    assert payload == {
        "title": "Deep work",
        "channel": "in_app",
        "due_date": None,
        "reminder": "-PT10M",
        "occurrence_id": f"{event.id}_{start.replace('-', '').replace(':', '')}",
        "slot": start,
        "start": start,
        "time_zone": ZONE,
    }


async def test_a_reminder_fires_at_its_instant_and_not_before(db: Database) -> None:
    await living_in(db)
    at = clock.now() + round(0.7 * SECOND)
    await made(db, ago(days=1), reminders=[{"remind_time": at, "channel": "email"}])
    firer = ReminderFirer(db)
    assert await firer.run_once() == 0
    firer.start()

    async def one() -> bool:
        return len(await messages(db)) == 1

    try:
        await until(one, "it fires")
    finally:
        await firer.close()
    [message] = await messages(db)
    assert datetime.fromisoformat(message["time"]) >= clock.to_datetime(at)
    assert message["data"]["payload"]["channel"] == "email"
    assert message["data"]["payload"]["slot"] is None
    assert await waiting(db) == []


async def test_the_next_firing_follows_an_edit_and_what_ended_does_not_fire(db: Database) -> None:
    await living_in(db)
    start = ago(days=-1)
    event = await made(db, start)
    assert [slot for _, slot in await waiting(db)] == [start]
    event = await change(db, event, a_row(start, status="cancelled"))
    assert [slot for _, slot in await waiting(db)] == [later(start, 1)]
    event = await change(db, event, a_row(start, moved_to=later(start, 3)))
    assert [slot for _, slot in await waiting(db)] == [later(start, 1)]
    event = await change(db, event, a_row(start, status="completed"))
    event = await change(db, event, deleted_at=clock.now())
    assert await waiting(db) == []
    event = await change(db, event, deleted_at=None)
    assert await waiting(db) == [(ten_minutes_before(start), start)]
    await change(db, event, reminders=[{"offset": "-P1W", "channel": "in_app"}, {"offset": "PT0S", "channel": "email"}])
    assert [slot for _, slot in await waiting(db)] == [start, later(start, 7)]


async def test_what_is_due_survives_an_edit_of_something_else_and_not_the_end_of_its_occurrence(db: Database) -> None:
    await living_in(db)
    start = ago(days=1, hours=2)
    event = await made(db, start)
    event = await change(db, event, title="Another title")
    await change(db, event, a_row(start, status="cancelled"))
    assert await run(db) == 1
    assert await fired(db) == [later(start, 1)]
    [message] = await messages(db)
    assert message["data"]["payload"]["title"] == "Another title"


async def test_what_is_due_goes_over_to_the_event_that_is_split_off(db: Database) -> None:
    await living_in(db)
    start = ago(days=1, hours=2)
    event = await made(db, start)
    pivot = later(start, 1)
    new = an_event(pivot, "FREQ=DAILY", id=new_id(), series_id=event.id, created_at=clock.now(), reminders=TEN_MINUTES)
    rule = {**(event.rule or {}), "count": 1}
    await change(db, event, new=new, rule=rule)
    assert await run(db) == 2
    assert [(each["subject"], each["data"]["payload"]["slot"]) for each in await messages(db)] == [
        (event.id, start), (new.id, pivot),
    ]  # fmt: skip
    assert [slot for _, slot in await waiting(db)] == [later(pivot, 1)]


async def test_a_firing_and_an_edit_that_meet_lose_and_double_nothing(db: Database) -> None:
    await living_in(db)
    start = ago(days=2, hours=2)
    event = await made(db, start)
    firer = ReminderFirer(db)
    async with db.transaction() as tx:
        # An edit that has read what is stored, and has not committed.
        before = await events.lock_event(tx, event.user_id, event.id)
        edit = changes.changed(before, before._replace(title="Edited"), {}, {}, ZONE, clock.now())
        await save(tx, [edit], NOTHING)
        assert await firer.run_once() == 0
    async with db.transaction() as tx:
        # A firing that has claimed it, and has not committed.
        due, now = await reminders.claim_due(tx, 10)
        await firer._fire(tx, due, now)
        editing = asyncio.create_task(change(db, event, title="Edited again"))

        async def waits() -> bool:
            return await lock_waits(db) > 0

        await until(waits, "the edit waits for the firing")
    await editing
    await run(db)
    assert await fired(db) == [later(start, day) for day in range(3)]
    assert len({each["id"] for each in await messages(db)}) == 3


async def test_a_second_firing_for_the_same_instant_is_the_same_message(db: Database) -> None:
    await living_in(db)
    start = ago(hours=2)
    event = await made(db, start, None)
    await run(db)
    async with db.connection() as connection:
        await connection.execute(
            "INSERT INTO event_reminders (event_id, reminder, user_id, remind_at, slot) VALUES (%s, %s, %s, %s, %s)",
            (event.id, "-PT10M/in_app", USER, ten_minutes_before(start), start),
        )
    assert await run(db) == 1
    assert len(await messages(db)) == 1
    assert await waiting(db) == []


async def test_what_moves_with_its_user_fires_where_they_are(db: Database) -> None:
    """The zone is known, and the event has yet to follow."""
    await living_in(db)
    slot = ago(days=1)[:10]
    await made(db, slot, None, minutes=1440, reminders=[{"offset": "PT0S", "channel": "in_app"}])
    async with db.transaction() as tx:
        await users.set_zone(tx, USER, "Pacific/Kiritimati")
    assert await run(db) == 1
    assert await messages(db) == []
    assert await waiting(db) == []


async def test_ten_thousand_due_reminders_hold_nothing_up(db: Database) -> None:
    await living_in(db)
    await made(db, ago(hours=3))
    names = events.EVENTS.names
    async with db.connection() as connection:
        await connection.execute(
            f"""
            INSERT INTO events ({names})
            SELECT {names.replace("id", "uuidv7()", 1)} FROM events, generate_series(2, 10000)"""
        )
        await connection.execute(
            """
            INSERT INTO event_reminders SELECT events.id, reminder, events.user_id, remind_at, slot
            FROM events, event_reminders WHERE events.id <> event_id"""
        )

    async def other() -> None:
        async with db.connection() as connection:
            await connection.execute("SELECT 1")

    seen = await disturbance(run(db), other)
    assert seen.longest_piece <= 0.05, str(seen)
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT count(DISTINCT event_id) FROM outbox")
        assert await cursor.fetchone() == (10_000,)


async def test_an_event_with_as_many_changes_and_reminders_as_it_may_have_holds_nothing_up(db: Database) -> None:
    await living_in(db)
    start = ago(days=1, hours=1)
    offsets = ["PT0S", "-PT10M", "-PT1H", "-P1D", "-P2D", "-P1W", "-P30D", "-P90D", "-P180D", "-P366D"]
    event = await made(db, start, reminders=[{"offset": offset, "channel": "in_app"} for offset in offsets])
    rows = [
        a_row(later(start, day), moved_to=later(start, day - 1))
        if day % 2
        else a_row(later(start, day), status="cancelled")
        for day in range(1, 1001)
    ]

    async def other() -> None:
        async with db.connection() as connection:
            await connection.execute("SELECT 1")

    async def edit_and_fire() -> None:
        await change(db, event, *rows)
        await run(db)

    seen = await disturbance(edit_and_fire(), other)
    assert seen.longest_piece <= 0.05, str(seen)


async def test_the_reminders_of_an_event_go_with_it(db: Database) -> None:
    await living_in(db)
    event = await made(db, ago(days=-1))
    async with db.connection() as connection:
        await connection.execute("DELETE FROM events WHERE id = %s", (event.id,))
        assert await reminders.seconds_until_due(connection) is None


@pytest.mark.parametrize(
    ("call", "index"),
    [
        (lambda found: reminders.claim_due(found, 50), "event_reminders_due"),
        (reminders.seconds_until_due, "event_reminders_due"),
        (lambda found: reminders.list_upcoming(found, USER, Page(50, None, b"")), "event_reminders_user"),
        (lambda found: reminders.list_upcoming(found, USER, Page(50, [0, new_id(), ""], b"")), "event_reminders_user"),
    ],
)
async def test_a_statement_uses_its_index(db: Database, call: Callable[[Any], Awaitable[Any]], index: str) -> None:
    async with db.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        assert index in await plan_of(connection, call)


async def test_a_reminder_reads_the_texts_of_its_own_occurrence_alone(db: Database) -> None:
    await living_in(db)
    start = ago(minutes=5)
    own = a_row(start, title="Opening")
    others = [a_row(later(start, day), description="x" * 10_000) for day in range(1, 801)]
    event_id = new_id()
    event = an_event(start, "FREQ=DAILY", id=event_id, series_id=event_id, reminders=TEN_MINUTES)
    await kept(db, event._replace(created_at=clock.now() - DAY), own, *others)

    tracemalloc.start()
    try:
        await run(db)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    (message,) = await messages(db)
    assert message["data"]["payload"]["title"] == "Opening"
    assert peak < 4_000_000
