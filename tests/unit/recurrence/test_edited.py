"""Edits, undos and completions that meet: no occurrence is lost, and no series is left without its next instance."""

from typing import Any

from mesh.recurrence.rule import Frequency, Rule
from services.recurrence.rules import edits, schedules
from services.recurrence.rules.edits import Change
from tests.unit.recurrence.drive import SERIES, Tasks, instant

CAUSE = "0190a000-0000-7000-8000-0000000000cc"
NEXT = "0190a000-0000-7000-8000-0000000000dd"
ZURICH = "Europe/Zurich"


def weekly(rule: str = "FREQ=WEEKLY", repeat: str = "from_due_next_future") -> Tasks:
    """A weekly task on Mondays at six in the evening in Zurich, from 7 September on."""
    tasks = Tasks()
    tasks.begin("2026-09-07T18:00:00", ZURICH, rule, "2026-09-01T00:00:00Z", repeat=repeat)
    return tasks


def change(**given: Any) -> Change:
    """A change of a series."""
    return Change(
        **{"start": None, "rule": None, "time_zone": None, "repeat_from": None, "values": {}, "force": False} | given
    )


def edit_all(tasks: Tasks, at: str, **given: Any) -> None:
    """Edits all of the series."""
    task = min(tasks.ledger.tasks.values(), key=lambda each: each.slot or "")
    tasks.take(edits.all_of(tasks.schedule, task, change(**given), instant(at), CAUSE), at)


def follow(tasks: Tasks, slot: str, at: str, **given: Any) -> None:
    """Edits the series from a slot on."""
    [task] = tasks.ledger.tasks.values()
    tasks.take(edits.following(tasks.schedule, task, slot, change(**given), instant(at), CAUSE, NEXT), at)


def complete_all(tasks: Tasks, most: int) -> list[str]:
    """Completes open instances at their time; their slots."""
    done: list[str] = []
    while tasks.open_slots and len(done) < most:
        done += tasks.open_slots[:1]
        tasks.complete(done[-1], f"{done[-1]}Z")
    return done


def test_all_later_in_the_day_keeps_the_last_occurrence_before_an_edit_ahead() -> None:
    tasks = weekly()
    follow(tasks, "2026-09-28T18:00:00", "2026-09-01T00:00:00Z", values={"title": "B"})
    edit_all(tasks, "2026-09-01T00:01:00Z", start="2026-09-07T19:30:00")
    assert complete_all(tasks, 4) == [
        "2026-09-07T19:30:00",
        "2026-09-14T19:30:00",
        "2026-09-21T19:30:00",
        "2026-09-28T18:00:00",
    ]
    assert {task.series_id for task in tasks.ledger.tasks.values()} == {NEXT}


def test_all_with_another_rule_ends_where_an_edit_ahead_begins() -> None:
    tasks = weekly()
    follow(tasks, "2026-09-28T18:00:00", "2026-09-01T00:00:00Z", values={"title": "B"})
    edit_all(tasks, "2026-09-01T00:01:00Z", rule=Rule(Frequency.WEEKLY, interval=2))
    assert complete_all(tasks, 3) == ["2026-09-07T18:00:00", "2026-09-21T18:00:00", "2026-09-28T18:00:00"]
    assert tasks.open_slots == ["2026-10-05T18:00:00"]


def test_an_undone_instance_that_an_edit_of_all_left_behind_does_not_come_twice() -> None:
    tasks = weekly()
    tasks.complete("2026-09-07T18:00:00", "2026-09-07T15:00:00Z")
    edit_all(tasks, "2026-09-07T15:01:00Z", start="2026-09-07T19:30:00")
    tasks.delete("2026-09-14T19:30:00", "2026-09-07T15:02:00Z")
    tasks.reopen("2026-09-07T18:00:00", "2026-09-07T15:03:00Z")
    tasks.complete("2026-09-07T18:00:00", "2026-09-07T15:04:00Z")
    assert tasks.schedule.next_slot == "2026-09-14T19:30:00"


def test_undo_after_an_edit_of_all_brings_back_the_occurrence_that_was_skipped_ahead() -> None:
    tasks = weekly()
    [task] = tasks.ledger.tasks.values()
    skipped = schedules.skip(tasks.schedule, task, "2026-09-14T18:00:00", instant("2026-09-01T00:00:00Z"), CAUSE)
    tasks.take(skipped, "2026-09-01T00:00:00Z")
    edit_all(tasks, "2026-09-01T00:01:00Z", start="2026-09-07T19:30:00")
    assert tasks.schedule.cancelled == ["2026-09-14T19:30:00"]
    assert skipped.completion is not None
    undone = schedules.undo(tasks.schedule, skipped.completion, instant("2026-09-01T00:02:00Z"), CAUSE, reopens=True)
    assert undone.schedule.cancelled == []


def test_all_leaves_the_open_instance_at_its_slot_where_completions_set_the_pace() -> None:
    tasks = weekly("FREQ=DAILY;INTERVAL=3;COUNT=5", repeat="from_completion")
    tasks.complete("2026-09-07T18:00:00", "2026-09-08T10:00:00Z")
    assert tasks.open_slots == ["2026-09-11T18:00:00"]
    edit_all(tasks, "2026-09-08T11:00:00Z", values={"title": "B"})
    assert tasks.open_slots == ["2026-09-11T18:00:00"]
    edit_all(tasks, "2026-09-08T12:00:00Z", start="2026-09-07T19:30:00")
    assert tasks.open_slots == ["2026-09-11T19:30:00"]


def test_what_comes_next_follows_the_open_instance_where_completions_set_the_pace() -> None:
    tasks = weekly("FREQ=DAILY;INTERVAL=3;COUNT=4", repeat="from_completion")
    assert [str(slot.local.date()) for slot in schedules.upcoming(tasks.schedule)] == [
        "2026-09-10",
        "2026-09-13",
        "2026-09-16",
    ]
    tasks.complete("2026-09-07T18:00:00", "2026-09-08T10:00:00Z")
    assert [str(slot.local.date()) for slot in schedules.upcoming(tasks.schedule)] == ["2026-09-14", "2026-09-17"]


def test_completing_an_undone_instance_after_the_next_goes_on_behind_both() -> None:
    tasks = weekly(repeat="from_due_every_missed")
    tasks.complete("2026-09-07T18:00:00", "2026-09-07T17:00:00Z")
    tasks.start("2026-09-14T18:00:00", "2026-09-07T17:01:00Z")
    tasks.reopen("2026-09-07T18:00:00", "2026-09-07T17:02:00Z")
    tasks.complete("2026-09-14T18:00:00", "2026-09-07T17:03:00Z")
    assert tasks.open_slots == ["2026-09-07T18:00:00"]
    tasks.complete("2026-09-07T18:00:00", "2026-09-07T17:04:00Z")
    assert tasks.open_slots == ["2026-09-21T18:00:00"]


def test_skipping_an_undone_instance_makes_none_beside_the_open_one() -> None:
    tasks = weekly()
    tasks.complete("2026-09-07T18:00:00", "2026-09-07T15:00:00Z")
    tasks.start("2026-09-14T18:00:00", "2026-09-07T15:01:00Z")
    tasks.reopen("2026-09-07T18:00:00", "2026-09-07T15:02:00Z")
    edit_all(tasks, "2026-09-07T15:03:00Z", start="2026-09-07T19:30:00")
    first = tasks.ledger.tasks[SERIES]
    skipped = schedules.skip(
        tasks.schedule, first, None, instant("2026-09-07T15:04:00Z"), CAUSE, other=tasks.ledger._other(first)
    )
    tasks.take(skipped, "2026-09-07T15:04:00Z")
    assert tasks.open_slots == ["2026-09-14T18:00:00"]


def test_an_occurrence_that_was_moved_ahead_of_now_comes_though_its_slot_has_passed() -> None:
    tasks = weekly()
    [task] = tasks.ledger.tasks.values()
    due = instant("2026-09-17T10:00:00Z")
    moved = edits.this(tasks.schedule, task, "2026-09-14T18:00:00", due, instant("2026-09-01T00:00:00Z"), CAUSE)
    tasks.take(moved, "2026-09-01T00:00:00Z")
    tasks.complete("2026-09-07T18:00:00", "2026-09-16T10:00:00Z")
    assert tasks.open_slots == ["2026-09-14T18:00:00"]
    assert [task.due_date for task in tasks.ledger.tasks.values()] == [due]
    assert tasks.schedule.id == SERIES
