"""Reminders in the tables: each fires once, never early, with any number of replicas."""

import asyncio
from datetime import datetime
from typing import Any

import orjson
import pytest

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.recurrence.jobs import ReminderFirer
from services.recurrence.store import tasks
from tests.support.recurrence_events import a_series_event, follow, recurring, seconds_from_now
from tests.support.user_events import TOPIC, a_user_event


async def fired(db: Database) -> list[dict[str, Any]]:
    """The events of the outbox, in order."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox ORDER BY seq")
        return [orjson.loads(value) for (value,) in await cursor.fetchall()]


async def waiting(db: Database) -> list[str]:
    """Instants of waiting reminders, in order."""
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT remind_at AT TIME ZONE 'UTC' FROM task_reminders WHERE is_waiting ORDER BY remind_at"
        )
        return [at.isoformat() for (at,) in await cursor.fetchall()]


async def due_since(db: Database, seconds: float) -> None:
    """Makes every reminder due so many seconds ago."""
    async with db.connection() as connection:
        await connection.execute("UPDATE task_reminders SET remind_at = now() - make_interval(secs => %s)", (seconds,))


async def test_a_thousand_reminders_after_an_outage_fire_once_each_with_three_replicas(
    replicas: list[Database],
) -> None:
    users = [new_id() for _ in range(10)]
    for user in users:
        await follow(
            replicas[0], *(a_series_event(user, new_id(), reminder_time=seconds_from_now(60)) for _ in range(100))
        )
    await due_since(replicas[0], 7200)

    async def run(db: Database) -> int:
        firer, done = ReminderFirer(db), 0
        while count := await firer.run_once():
            done += count
        return done

    assert sum(await asyncio.gather(*map(run, replicas))) == 1000
    events = await fired(replicas[0])
    assert len({event["id"] for event in events}) == len(events) == 1000
    assert await run(replicas[0]) == 0


async def test_a_reminder_fires_at_its_instant_and_not_before(db: Database) -> None:
    user, task = new_id(), new_id()
    at, due = seconds_from_now(0.6), seconds_from_now(3600)
    await follow(db, a_series_event(user, task, reminder_time=at, due_date=due))
    firer = ReminderFirer(db)
    firer.start()
    try:
        async with asyncio.timeout(10):
            while not (events := await fired(db)):
                await asyncio.sleep(0.01)
    finally:
        await firer.close()
    [event] = events
    assert (event["type"], event["source"], event["subject"]) == ("reminder-fired", "/focusmesh/recurrence", task)
    assert datetime.fromisoformat(event["time"]) >= datetime.fromisoformat(at)
    payload = event["data"]["payload"]
    assert datetime.fromisoformat(payload.pop("reminder_time")) == datetime.fromisoformat(at)
    assert datetime.fromisoformat(payload.pop("due_date")) == datetime.fromisoformat(due)
    assert payload == {
        "title": "Water the plants", "channel": "in_app", "reminder": None, "series_id": None, "slot": None,
    }  # fmt: skip


async def test_a_second_firing_for_the_same_instant_is_the_same_event(db: Database) -> None:
    user, task = new_id(), new_id()
    await follow(db, a_series_event(user, task, reminder_time=seconds_from_now(60)))
    async with db.connection() as connection:
        await connection.execute("UPDATE task_reminders SET remind_at = '2026-01-01T00:00:00Z'")
    await ReminderFirer(db).run_once()
    async with db.connection() as connection:
        await connection.execute("UPDATE task_reminders SET is_waiting = true")
    assert await ReminderFirer(db).run_once() == 1
    assert len(await fired(db)) == 1
    assert await waiting(db) == []


async def test_the_reminders_of_a_task_go_with_it(db: Database) -> None:
    user, task = new_id(), new_id()
    with_two = {
        "reminder_time": seconds_from_now(60),
        "due_date": seconds_from_now(3600),
        "reminder_offsets": ["-PT10M"],
    }
    await follow(db, a_series_event(user, task, **with_two))
    assert len(await waiting(db)) == 2
    await follow(db, a_series_event(user, task, version=2, kind="task-updated", **with_two | {"reminder_offsets": []}))
    assert len(await waiting(db)) == 1
    await follow(db, a_series_event(user, task, version=3, kind="task-completed", **with_two))
    assert await waiting(db) == []
    async with db.connection() as connection:
        assert await tasks.seconds_until_due(connection) is None


async def test_an_older_event_that_comes_late_changes_nothing(db: Database) -> None:
    user, task = new_id(), new_id()
    await follow(db, a_series_event(user, task, version=3, kind="task-updated", reminder_time=seconds_from_now(60)))
    await follow(db, a_series_event(user, task, version=2, kind="task-deleted", deleted_at=seconds_from_now(0)))
    assert len(await waiting(db)) == 1


async def test_the_users_change_of_zone_moves_only_what_counts_in_days_of_the_user(db: Database) -> None:
    user, series = new_id(), new_id()
    await follow(db, a_user_event(user, "user-registered", version=1)._replace(
        payload={"name": None, "time_zone": "Europe/Berlin", "day_start_minutes": 0, "week_start": "monday"}
    ), topic=TOPIC)  # fmt: skip
    march = {"due_date": "2030-03-31T10:00:00Z"}  # the day on which Berlin's clocks go forward
    await follow(
        db,
        a_series_event(user, new_id(), **march, reminder_offsets=["-P1D", "-PT24H"]),
        a_series_event(user, series, **recurring(series, "2030-03-31T10:00:00", reminder_offsets=["-P1D"])),
    )
    assert await waiting(db) == ["2030-03-30T10:00:00", "2030-03-30T10:00:00", "2030-03-30T11:00:00"]
    await follow(db, a_user_event(user, "user-updated", version=2)._replace(
        payload={"name": None, "time_zone": "Asia/Tokyo", "day_start_minutes": 0, "week_start": "monday"}
    ), topic=TOPIC)  # fmt: skip
    assert await waiting(db) == ["2030-03-30T10:00:00"] * 3


async def test_a_deleted_user_leaves_nothing_and_later_events_are_dropped(db: Database) -> None:
    user, series = new_id(), new_id()
    whole = recurring(series, "2030-03-31T10:00:00", reminder_offsets=["-P1D"])
    await follow(db, a_series_event(user, series, **whole))
    await follow(db, a_series_event(user, series, version=2, kind="task-completed", **whole))
    await follow(db, a_user_event(user), topic=TOPIC)
    await follow(db, a_series_event(user, new_id(), reminder_time=seconds_from_now(60)))
    async with db.connection() as connection:
        for table in ("recurrence_schedules", "completions", "plans", "open_tasks", "task_reminders"):
            cursor = await connection.execute(f"SELECT count(*) FROM {table}")
            assert await cursor.fetchone() == (0,), table


async def test_events_of_a_task_that_neither_recurs_nor_reminds_leave_nothing(db: Database) -> None:
    user, task = new_id(), new_id()
    kinds = ("task-created", "task-updated", "task-completed", "task-deleted")
    await follow(
        db,
        *(
            a_series_event(user, task, version=version, kind=kind, due_date=seconds_from_now(60))
            for version, kind in enumerate(kinds, start=1)
        ),
    )
    async with db.connection() as connection:
        for table in ("users", "open_tasks", "task_reminders", "recurrence_schedules"):
            cursor = await connection.execute(f"SELECT count(*) FROM {table}")
            assert await cursor.fetchone() == (0,), table


@pytest.mark.parametrize("kind", ["task-updated", "task-completed", "task-deleted"])
@pytest.mark.parametrize("together", [True, False])
async def test_an_event_without_a_reminder_ends_the_one_that_its_task_had(
    db: Database, kind: str, *, together: bool
) -> None:
    user, task = new_id(), new_id()
    first = a_series_event(user, task, reminder_time=seconds_from_now(60))
    last = a_series_event(user, task, version=2, kind=kind)
    if together:
        await follow(db, first, last)
    else:
        await follow(db, first)
        assert len(await waiting(db)) == 1
        await follow(db, last)
    assert await waiting(db) == []
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM open_tasks")
        assert await cursor.fetchone() == (0,)
