"""Tasks through their lives: the log is exact, one next instance is open, and reminders follow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.recurrence.errors import SlotNotFound, TooManyChanges
from services.recurrence.rules import schedules
from services.recurrence.rules.schedules import MOST_CHANGES
from tests.unit.recurrence.drive import SERIES, Tasks, instant, said

CAUSE = "0190a000-0000-7000-8000-0000000000cc"
BERLIN = "Europe/Berlin"


def daily(reminders: tuple[str, ...] = (), rule: str = "FREQ=DAILY", **more: str) -> Tasks:
    """A daily task at nine in Berlin, from 1 June on."""
    tasks = Tasks()
    tasks.begin("2026-06-01T09:00:00", BERLIN, rule, "2026-05-30T00:00:00Z", reminders=reminders, **more)  # type: ignore[arg-type]
    return tasks


def test_early_late_and_undone_completions_are_logged_exactly() -> None:
    tasks = daily()
    tasks.complete("2026-06-01T09:00:00", "2026-05-31T21:59:59Z")  # 23:59:59 the day before
    tasks.complete("2026-06-02T09:00:00", "2026-06-01T22:00:00Z")  # 00:00 of its day
    tasks.complete("2026-06-03T09:00:00", "2026-06-04T05:00:00Z")
    assert tasks.open_slots == ["2026-06-04T09:00:00"]
    tasks.reopen("2026-06-03T09:00:00", "2026-06-04T05:01:00Z")
    assert tasks.log() == [
        ("2026-06-01T09:00:00", "early", False),
        ("2026-06-02T09:00:00", "on_time", False),
        ("2026-06-03T09:00:00", "late", True),
    ]
    assert tasks.open_slots == ["2026-06-03T09:00:00"]
    assert (tasks.schedule.made, tasks.schedule.next_slot) == (3, "2026-06-03T09:00:00")


def test_undo_restores_the_slot_and_its_reminder_that_is_still_ahead() -> None:
    tasks = daily(("-PT30M",), "FREQ=DAILY;INTERVAL=2")
    tasks.complete("2026-06-01T09:00:00", "2026-06-01T06:00:00Z")
    assert tasks.open_slots == ["2026-06-03T09:00:00"]
    assert tasks.waiting() == [("-PT30M", "2026-06-03T06:30:00Z")]
    [entry] = tasks.ledger.added.values()
    tasks.take(
        schedules.undo(tasks.schedule, entry, instant("2026-06-01T06:01:00Z"), CAUSE, reopens=True),
        "2026-06-01T06:01:00Z",
    )
    assert tasks.open_slots == ["2026-06-01T09:00:00"]
    assert tasks.waiting() == [("-PT30M", "2026-06-01T06:30:00Z")]
    assert tasks.log() == [("2026-06-01T09:00:00", "on_time", True)]


def test_a_reminder_that_has_passed_does_not_come_again_with_undo_or_undelete() -> None:
    tasks = daily(("-PT30M", "-PT10M"))
    tasks.delete("2026-06-01T09:00:00", "2026-06-01T06:00:00Z")
    assert (tasks.waiting(), tasks.schedule.is_active) == ([], False)
    tasks.undelete("2026-06-01T09:00:00", "2026-06-01T06:40:00Z")  # between the two
    assert tasks.waiting() == [("-PT10M", "2026-06-01T06:50:00Z")]
    assert tasks.schedule.is_active


def test_a_task_that_moves_is_reminded_again_and_one_that_stays_is_not() -> None:
    tasks = daily(("-PT10M",))
    [reminder] = tasks.ledger.reminders[SERIES].values()
    tasks.ledger.reminders[SERIES]["-PT10M"] = reminder._replace(is_waiting=False)  # it fired
    tasks.change(SERIES, "2026-06-01T06:52:00Z")
    assert tasks.waiting() == []
    tasks.move(SERIES, "2026-06-01T12:00:00Z", "2026-06-01T06:55:00Z")
    assert tasks.waiting() == [("-PT10M", "2026-06-01T11:50:00Z")]


def test_a_task_that_moves_a_minute_before_its_reminder_is_not_reminded_then() -> None:
    tasks = daily(("-PT10M",))
    tasks.move(SERIES, "2026-06-01T08:00:00Z", "2026-06-01T06:49:00Z")
    assert tasks.waiting() == [("-PT10M", "2026-06-01T07:50:00Z")]


@pytest.mark.parametrize(
    ("reminder", "expected"),
    [
        # 30 minutes before a slot in the gap: the very instant at which 02:00 becomes 03:00.
        ("-PT30M", "2026-03-29T01:00:00Z"),
        ("-P1D", "2026-03-28T02:30:00Z"),
        ("-PT24H", "2026-03-28T01:30:00Z"),
    ],
)
def test_days_of_a_reminder_are_local_and_hours_are_hours(reminder: str, expected: str) -> None:
    tasks = Tasks()
    tasks.begin("2026-03-29T02:30:00", BERLIN, "FREQ=DAILY;COUNT=2", "2026-03-01T00:00:00Z", reminders=[reminder])
    assert tasks.waiting() == [(reminder, expected)]


def test_a_due_time_at_the_end_of_the_calendar_has_no_reminder_in_local_days() -> None:
    tasks = Tasks("Asia/Tokyo")
    tasks.begin("2026-06-01T09:00:00", "UTC", "FREQ=DAILY", "2026-03-01T00:00:00Z")
    task = tasks.states[SERIES][1].task._replace(series_id=None, slot=None, time_zone=None)
    late = task._replace(due_date=instant("9999-12-31T23:59:59Z"))
    tasks.change(SERIES, "2026-03-01T00:00:01Z", task=late, offsets=["-P1D", "-PT1H"])
    assert tasks.waiting() == [("-PT1H", "9999-12-31T22:59:59Z")]


def test_an_absolute_reminder_fires_once_for_its_instant() -> None:
    tasks = daily(absolute="2026-06-01T05:00:00Z")
    assert tasks.waiting() == [("", "2026-06-01T05:00:00Z")]
    [reminder] = tasks.ledger.reminders[SERIES].values()
    tasks.ledger.reminders[SERIES][""] = reminder._replace(is_waiting=False)  # it fired
    tasks.move(SERIES, "2026-06-01T12:00:00Z", "2026-06-01T04:59:00Z")
    assert tasks.waiting() == []


def test_a_count_with_two_skipped_slots_gives_eight_instances() -> None:
    tasks = Tasks()
    tasks.begin("2026-09-07T18:00:00", "Europe/Zurich", "FREQ=WEEKLY;COUNT=10", "2026-09-01T00:00:00Z")
    for slot in ("2026-09-14T18:00:00", "2026-10-26T18:00:00"):
        task = tasks.ledger.tasks[SERIES]
        tasks.take(
            schedules.skip(tasks.schedule, task, slot, instant("2026-09-01T00:00:00Z"), CAUSE), "2026-09-01T00:00:00Z"
        )
    done = 0
    while tasks.open_slots:
        tasks.complete(tasks.open_slots[0], f"{tasks.open_slots[0]}Z")
        done += 1
    assert (done, tasks.schedule.is_active) == (8, False)


def test_every_missed_slot_comes_one_after_the_other() -> None:
    tasks = daily(repeat="from_due_every_missed")
    tasks.complete("2026-06-01T09:00:00", "2026-06-10T00:00:00Z")
    assert tasks.open_slots == ["2026-06-02T09:00:00"]
    tasks.complete("2026-06-02T09:00:00", "2026-06-10T00:01:00Z")
    assert tasks.open_slots == ["2026-06-03T09:00:00"]


def test_count_counts_instances_where_completions_set_the_pace() -> None:
    tasks = daily(rule="FREQ=DAILY;COUNT=3", repeat="from_completion")
    for at in ("2026-06-05T10:00:00Z", "2026-06-09T10:00:00Z", "2026-06-20T10:00:00Z"):
        assert len(tasks.open_slots) == 1
        tasks.complete(tasks.open_slots[0], at)
    assert (tasks.open_slots, tasks.schedule.is_active) == ([], False)


@pytest.mark.parametrize("by_call", [False, True], ids=["reopened", "undone"])
@pytest.mark.parametrize("then", ["complete", "start"])
def test_undoing_an_entry_whose_next_instance_stays_gives_no_instance_more(then: str, by_call: bool) -> None:
    tasks = daily(rule="FREQ=DAILY;COUNT=4", repeat="from_completion")
    tasks.complete("2026-06-01T09:00:00", "2026-06-01T10:00:00Z")
    getattr(tasks, then)("2026-06-02T09:00:00", "2026-06-02T10:00:00Z")
    if by_call:
        _act(tasks, "undo", 0, instant("2026-06-02T10:01:00Z"), 0)
    else:
        tasks.reopen("2026-06-01T09:00:00", "2026-06-02T10:01:00Z")
    while tasks.open_slots:
        tasks.complete(tasks.open_slots[0], "2026-06-03T10:00:00Z")
    assert len(tasks.states) == 4


def test_only_slots_ahead_are_skipped_and_not_without_end() -> None:
    tasks = daily()
    task = tasks.ledger.tasks[SERIES]
    for slot in ("2026-05-31T09:00:00", "2026-06-02T10:00:00", "2026-06-02", "soon"):
        with pytest.raises(SlotNotFound):
            schedules.skip(tasks.schedule, task, slot, 0, CAUSE)
    full = tasks.schedule._replace(cancelled=["2026-06-03T09:00:00"] * MOST_CHANGES)
    with pytest.raises(TooManyChanges):
        schedules.skip(full, task, "2026-06-02T09:00:00", 0, CAUSE)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["complete", "reopen", "start", "delete", "undelete", "skip", "undo"]), st.integers(0, 5)
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(ACTS, st.sampled_from(["from_due_next_future", "from_due_every_missed", "from_completion"]))
def test_whatever_is_done_no_slot_that_counts_as_done_is_open_and_one_next_instance_is(
    acts: list[tuple[str, int]], repeat: str
) -> None:
    tasks = daily(rule="FREQ=DAILY;COUNT=12", repeat=repeat)
    at = instant("2026-06-01T07:30:00Z")
    for index, (act, which) in enumerate(acts):
        at += 7 * 3_600_000_000
        _act(tasks, act, which, at, index)
        counting = {slot for slot, _, is_undone in tasks.log() if not is_undone}
        assert not counting & set(tasks.open_slots)
        brought_back = sum(each in {"reopen", "undelete", "undo"} for each, _ in acts[: index + 1])
        assert len(tasks.open_slots) <= 1 + brought_back
        if tasks.open_slots:
            assert tasks.schedule.is_active
            assert tasks.schedule.next_slot in tasks.open_slots
        else:
            assert not tasks.schedule.is_active


def _act(tasks: Tasks, act: str, which: int, at: int, index: int) -> None:
    """Does one thing that the state allows."""
    text = said(at) or ""
    by_status = {"complete": ("pending", "in_progress"), "start": ("pending",), "delete": ("pending", "in_progress"),
                 "reopen": ("complete",), "undelete": ("deleted", "withdrawn")}  # fmt: skip
    if act in by_status:
        fitting = [state.task.slot for status, state in tasks.states.values() if status in by_status[act]]
        if fitting:
            getattr(tasks, act)(fitting[which % len(fitting)], text)
        return
    cause = f"0190a000-0000-7000-8000-{index:012d}"
    open_task = min(tasks.ledger.tasks.values(), key=lambda task: task.slot or "", default=None)
    if act == "skip" and open_task is not None and not open_task.is_begun:
        furthest, other = tasks.ledger._furthest.get(SERIES, ""), tasks.ledger._other(open_task)
        tasks.take(schedules.skip(tasks.schedule, open_task, None, at, cause, furthest, other), text)
    entries = [each for each in tasks.ledger.completions.values() if each.undone_at is None]
    if act == "undo" and entries:
        entry = entries[which % len(entries)]
        stays = schedules.stays_after(entry, tasks.ledger.tasks.values(), entries)
        tasks.take(schedules.undo(tasks.schedule, entry, at, cause, reopens=True, stays=stays), text)
