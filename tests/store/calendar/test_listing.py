"""Pages of what takes place: what rows move, cancel and lengthen, filters, and other users."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import DAY
from mesh.runtime.ids import new_id
from services.calendar.handlers import listing
from services.calendar.handlers.listing import list_occurrences
from services.calendar.model import Occurrence, OccurrenceFilter, Status, Window
from services.calendar.rules import changes, series
from services.calendar.store import windows
from services.calendar.store.changes import save
from tests.store.calendar.kept import kept
from tests.support.calendar_model import USER, ZONE, a_row, an_event

MARCH = to_instant(datetime.fromisoformat("2026-03-01T00:00:00"), ZONE)[0]
ALL = OccurrenceFilter(states=[status.value for status in Status])


def in_march(days: int = 31, *, first: int = 0) -> Window:
    """A window in March."""
    return Window(MARCH + first * DAY, MARCH + (first + days) * DAY, ZONE)


async def listed(db: Database, window: Window, chosen: OccurrenceFilter = ALL, size: int = 200) -> list[Occurrence]:
    """What takes place, from all pages."""
    found: list[Occurrence] = []
    while True:
        page = await list_occurrences(db, USER, window, chosen, size)
        assert len(page.occurrences) <= size
        found += page.occurrences
        if page.more_after is None:
            return found
        window = window._replace(after=page.more_after)


def places(occurrences: Sequence[Occurrence]) -> list[tuple[str, str]]:
    """Event and slot of each."""
    return [(each.event.id, each.slot) for each in occurrences]


def texts(occurrences: Sequence[Occurrence]) -> list[str]:
    """The slot of each."""
    return [each.slot for each in occurrences]


async def test_a_moved_occurrence_is_listed_where_it_takes_place_and_only_there(db: Database) -> None:
    await kept(
        db,
        an_event("2026-03-02T09:00:00", "FREQ=DAILY;COUNT=4"),
        a_row("2026-03-03T09:00:00", moved_to="2026-03-10T10:00:00"),
    )
    assert texts(await listed(db, in_march(7))) == ["2026-03-02T09:00:00", "2026-03-04T09:00:00", "2026-03-05T09:00:00"]
    [moved] = await listed(db, in_march(7, first=7))
    assert (moved.slot, moved.start, moved.end) == (
        "2026-03-03T09:00:00",
        to_instant(datetime.fromisoformat("2026-03-10T10:00:00"), ZONE)[0],
        to_instant(datetime.fromisoformat("2026-03-10T11:00:00"), ZONE)[0],
    )


async def test_an_occurrence_that_was_moved_before_its_series_begins_is_listed(db: Database) -> None:
    await kept(
        db,
        an_event("2026-03-20T09:00:00", "FREQ=DAILY;COUNT=2"),
        a_row("2026-03-20T09:00:00", moved_to="2026-03-02T09:00:00"),
    )
    assert texts(await listed(db, in_march(7))) == ["2026-03-20T09:00:00"]


async def test_a_lengthened_occurrence_that_goes_on_in_the_window_is_listed(db: Database) -> None:
    await kept(db, an_event("2026-03-02T09:00:00", "FREQ=WEEKLY"), a_row("2026-03-02T09:00:00", minutes=4 * 1440))
    [longer] = await listed(db, in_march(2, first=4))
    assert (longer.slot, longer.end - longer.start) == ("2026-03-02T09:00:00", 4 * DAY)
    assert await listed(db, in_march(2, first=6)) == []


async def test_a_shortened_occurrence_that_is_over_is_not_listed(db: Database) -> None:
    await kept(
        db, an_event("2026-03-02T09:00:00", "FREQ=WEEKLY", minutes=3 * 1440), a_row("2026-03-02T09:00:00", minutes=5)
    )
    assert await listed(db, in_march(1, first=2)) == []


async def test_states_choose_what_is_listed(db: Database) -> None:
    event = an_event("2026-03-02T09:00:00", "FREQ=DAILY;COUNT=3")
    await kept(
        db, event, a_row("2026-03-02T09:00:00", status="cancelled"), a_row("2026-03-03T09:00:00", status="completed")
    )
    await kept(db, an_event("2026-03-02T09:00:00", id=new_id()))
    shown = {
        states: [each.slot[8:10] for each in await listed(db, in_march(), OccurrenceFilter(states=states))]
        for states in (("planned",), ("cancelled",), ("completed",), ("planned", "completed"))
    }
    assert shown == {
        ("planned",): ["02", "04"],
        ("cancelled",): ["02"],
        ("completed",): ["03"],
        ("planned", "completed"): ["02", "03", "04"],
    }


async def test_filters_choose_events(db: Database) -> None:
    task, subscription = new_id(), new_id()
    timed, _ = await kept(
        db,
        an_event("2026-03-02T09:00:00", id=new_id(), todo_task_id=task),
        a_row("2026-03-02T09:00:00", moved_to="2026-03-02T10:00:00"),
    )
    dated, _ = await kept(db, an_event("2026-03-02", minutes=1440, id=new_id()))
    followed, _ = await kept(db, an_event("2026-03-02T08:00:00", id=new_id(), subscription_id=subscription, uid="a"))
    await kept(db, an_event("2026-03-02T09:00:00", id=new_id(), deleted_at=MARCH, purge_at=MARCH + 10_000 * DAY))
    await kept(db, an_event("2026-03-02T09:00:00", id=new_id(), user_id=new_id()))

    async def shown(**filters: Any) -> set[str]:
        return {each.event.id for each in await listed(db, in_march(), OccurrenceFilter(**filters))}

    assert await shown() == {timed.id, dated.id, followed.id}
    assert await shown(event_id=timed.id) == {timed.id}
    assert await shown(event_id=new_id()) == set()
    assert await shown(todo_task_id=task) == {timed.id}
    assert await shown(is_all_day=True) == {dated.id}
    assert await shown(is_all_day=False) == {timed.id, followed.id}
    assert await shown(own_only=True) == {timed.id, dated.id}


async def test_an_event_that_floats_is_listed_where_its_user_is_now(db: Database) -> None:
    event, _ = await kept(
        db,
        an_event("2026-03-02T23:00:00", "FREQ=DAILY;COUNT=1", time_zone=None),
    )
    [here] = await listed(db, in_march()._replace(zone="Pacific/Kiritimati"))
    assert here.start == event.scheduled_start - 13 * DAY // 24


async def test_a_page_is_short_when_very_many_are_left_out_before_it_and_the_next_goes_on(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_MOST_LOOKED_AT", 20)
    gone = [a_row(f"2026-03-{day:02}T09:00:00", status="cancelled") for day in range(1, 31)]
    await kept(db, an_event("2026-03-01T09:00:00", "FREQ=DAILY"), *gone)
    first = await list_occurrences(db, USER, in_march(), OccurrenceFilter(), 1)
    assert first.occurrences == []
    assert first.more_after is not None
    assert texts(await listed(db, in_march(), OccurrenceFilter(), 1)) == ["2026-03-31T09:00:00"]


async def test_an_event_that_changes_while_it_is_listed_is_shown_as_it_is_then(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, rows = await kept(db, an_event("2026-03-02T09:00:00", "FREQ=DAILY;COUNT=2"))
    read = windows.list_apart

    async def list_apart(*arguments: Any) -> Any:
        changed = changes.changed(event, event._replace(length_seconds=60), rows, rows, ZONE, event.updated_at)
        async with db.transaction() as tx:
            await save(tx, [changed], SideEffects((), None, ""))
        return await read(*arguments)

    monkeypatch.setattr(windows, "list_apart", list_apart)
    page = await list_occurrences(db, USER, in_march(), ALL, 50)
    assert [(each.event.version, each.end - each.start) for each in page.occurrences] == [(2, 60_000_000)] * 2


@pytest.mark.parametrize("seed", range(6))
async def test_pages_of_every_size_hold_what_the_rules_say(db: Database, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (not a secret)
    expected: list[Occurrence] = []
    window = in_march(chance.randint(1, 31), first=chance.randint(0, 10))
    for _ in range(25):
        event, rows = await kept(db, *some_event(chance))
        expected += series.between(event, rows, window.begin, window.end, ZONE)
    expected.sort(key=lambda each: (each.start, each.event.id, each.slot))
    for size in (1, 3, 50, 200):
        found = await listed(db, window, ALL, size)
        assert places(found) == places(expected)
        assert [each[2:4] for each in found] == [each[2:4] for each in expected]
        assert [each.row for each in found] == [each.row for each in expected]
    planned = await listed(db, window, OccurrenceFilter(states=["planned"]), 7)
    assert places(planned) == places([each for each in expected if each.status == "planned"])


def some_event(chance: random.Random) -> tuple[Any, ...]:
    """An event with rows of some of its slots."""
    start = datetime.fromisoformat("2026-02-20T00:00:00") + timedelta(minutes=30 * chance.randrange(48 * 30))
    rule = chance.choice([None, "FREQ=DAILY", "FREQ=DAILY;COUNT=9", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=MONTHLY;COUNT=3"])
    if chance.random() < 0.2:
        event = an_event(
            start.date().isoformat(),
            None if rule is None else rule.partition(";BYDAY")[0],
            minutes=1440 * chance.randint(1, 5),
            id=new_id(),
        )
    else:
        zone = chance.choice([ZONE, "America/New_York", None])
        event = an_event(
            start.isoformat(),
            None if rule is None else rule.partition(";BYDAY")[0],
            minutes=chance.choice([0, 30, 60, 3000]),
            time_zone=zone,
            id=new_id(),
        )
    rows = []
    for each in series.between(event, {}, MARCH - 20 * DAY, MARCH + 40 * DAY, ZONE):
        kind = chance.choice(["", "", "", "cancelled", "completed", "moved", "longer"])
        if kind in ("cancelled", "completed"):
            rows.append(a_row(each.slot, status=kind))
        elif kind == "moved":
            to = datetime.fromisoformat(each.slot) + timedelta(days=chance.randint(-9, 9))
            rows.append(a_row(each.slot, moved_to=to.date().isoformat() if event.is_all_day else to.isoformat()))
        elif kind == "longer":
            rows.append(a_row(each.slot, minutes=1440 * chance.randint(1, 9)))
    return event, *rows
