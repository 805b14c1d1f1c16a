"""Sleep, idle time and interruptions are not worked."""

import pytest

from mesh.runtime.clock import DAY, SECOND
from services.pomodoro import errors
from services.pomodoro.model import Cause, IdleAction, Status, SyncResult
from tests.unit.pomodoro.drive import PHONE, Driven, instant, wall


def started(**given: object) -> Driven:
    session = Driven(**given)  # type: ignore[arg-type]  # a plan
    session.at("10:00").start()
    return session


@pytest.mark.parametrize("shown", [598, 599, 600, 601, 602])
def test_a_timer_within_two_seconds_is_confirmed_and_nothing_changes(shown: int) -> None:
    session = started().at("10:10")
    before = session.focus
    assert session.sync(shown) == SyncResult.CONFIRMED
    assert session.focus is before


def test_a_timer_that_is_behind_slept_and_the_interval_ends_later() -> None:
    session = started().at("10:10")
    assert session.sync(597) == SyncResult.GAP_ADDED
    assert (session.progress, session.worked, session.end) == (597, 597, "10:25:03")
    assert session.sync(120) == SyncResult.GAP_ADDED
    assert (session.progress, session.worked, session.end) == (120, 120, "10:33:00")
    assert session.at("10:34").timeline.intervals[0].worked == 1500 * SECOND


def test_twelve_hours_of_sleep_in_a_long_interval_are_not_counted() -> None:
    session = started(duration_pomodoro_minutes=180).at("12:00")
    session.pause()
    session.to(instant("12:00") + DAY).resume()
    session.to(instant("12:50") + DAY)
    assert session.sync(7200 + 60) == SyncResult.GAP_ADDED
    assert session.worked == 7260


@pytest.mark.parametrize(
    ("others", "result"), [("10:07", "kept"), ("10:05", "kept"), ("10:04", "added"), (None, "kept")]
)
def test_a_gap_is_added_only_when_no_other_device_was_active_in_it(others: str | None, result: str) -> None:
    session = started().at("10:10")
    seen = None if others is None else instant(others)
    expected = SyncResult.GAP_ADDED if result == "added" else SyncResult.SERVER_VALUE_KEPT
    assert session.sync(300, others=seen) == expected
    assert session.progress == (300 if result == "added" else 600)


def test_a_change_by_another_device_shows_that_it_was_active() -> None:
    session = started()
    session.at("10:06", PHONE).interrupt(0)
    session.at("10:10")
    assert session.sync(300) == SyncResult.SERVER_VALUE_KEPT


def test_what_slept_past_the_end_gets_the_current_interval() -> None:
    session = started().at("10:27")
    assert session.sync(600, 1) == SyncResult.INTERVAL_OVER
    assert session.timeline.intervals[0].is_pomodoro


@pytest.mark.parametrize(("number", "seconds"), [(1, 603), (2, 0)])
def test_a_timer_that_is_ahead_is_refused_with_the_servers_value(number: int, seconds: int) -> None:
    session = started().at("10:10")
    with pytest.raises(errors.ProgressAhead) as refused:
        session.sync(seconds, number)
    assert refused.value.metadata == {"interval_number": "1", "progress_seconds": "600"}


def test_while_paused_the_servers_value_stands() -> None:
    session = started().at("10:10")
    session.pause()
    assert [session.sync(seconds) for seconds in (600, 300)] == [SyncResult.CONFIRMED, SyncResult.SERVER_VALUE_KEPT]
    with pytest.raises(errors.ProgressAhead):
        session.sync(700)


def test_kept_idle_time_was_work() -> None:
    session = started().at("10:10")
    before = session.focus
    session.idle("10:05", IdleAction.KEEP)
    assert session.focus is before


def test_discarded_idle_time_counts_as_nothing_and_the_interval_ends_later() -> None:
    session = started().at("10:20")
    session.idle("10:12", IdleAction.DISCARD)
    assert (session.worked, session.end, session.shown.rested) == (720, "10:33:00", 0)


def test_reassigned_idle_time_counts_as_a_break() -> None:
    session = started().at("10:20")
    session.idle("10:12", IdleAction.REASSIGN)
    assert (session.worked, session.end, session.shown.rested) == (720, "10:33:00", 480 * SECOND)
    session.idle("10:12", IdleAction.DISCARD)
    assert (session.worked, session.end, session.shown.rested) == (720, "10:33:00", 0)


@pytest.mark.parametrize(("since", "pomodoros", "seconds"), [("10:20", 1, 1200), ("10:19", 0, 1140), ("09:00", 0, 0)])
def test_an_interval_that_has_ended_is_judged_again(since: str, pomodoros: int, seconds: int) -> None:
    session = started().at("10:28")
    assert session.shown.pomodoro_count == 1
    session.idle(since, IdleAction.DISCARD)
    assert (session.shown.pomodoro_count, session.worked) == (pomodoros, seconds)
    assert (session.shown.interval_number, session.end, session.progress) == (2, "10:30:00", 180)
    assert wall(session.timeline.intervals[0].end) == "10:25:00"


def test_idle_time_is_taken_out_once() -> None:
    session = started().at("10:20")
    session.idle("10:15", IdleAction.DISCARD)
    once = session.focus
    session.idle("10:15", IdleAction.DISCARD)
    assert session.focus is once
    session.at("10:22").idle("10:10", IdleAction.DISCARD)
    assert session.worked == 600


def test_idle_time_in_a_break_changes_nothing() -> None:
    session = started().at("10:29")
    before = session.focus
    session.idle("10:26", IdleAction.DISCARD)
    assert session.focus is before


def test_idle_time_in_the_future_is_refused() -> None:
    session = started().at("10:10")
    with pytest.raises(errors.IdleInFuture) as refused:
        session.idle("10:11", IdleAction.DISCARD)
    assert refused.value.metadata == {"server_time": "2026-03-02T10:10:00Z"}


def test_idle_time_of_a_finished_session_is_refused() -> None:
    session = started().at("10:10")
    session.finish()
    with pytest.raises(errors.FocusSessionFinished):
        session.idle("10:05", IdleAction.DISCARD)


@pytest.mark.parametrize(("took", "worked", "end"), [(0, 600, "10:25:00"), (90, 510, "10:26:30"), (900, 0, "10:35:00")])
def test_an_interruption_counts_and_its_time_does_not(took: int, worked: int, end: str) -> None:
    session = started().at("10:10")
    session.interrupt(took, Cause.INTERNAL)
    assert (session.worked, session.end, session.shown.interruption_count) == (worked, end, 1)


def test_an_interruption_after_a_pause_takes_what_ran_before_it() -> None:
    session = started().at("10:10")
    session.pause()
    session.at("10:30").interrupt(60)
    assert (session.worked, session.state) == (540, Status.PAUSED)
    session.resume()
    assert session.end == "10:46:00"


def test_an_interruption_at_the_beginning_of_an_interval_takes_nothing() -> None:
    session = started(auto_start_breaks=False).at("10:30")
    session.interrupt(60)
    assert (session.worked, session.progress, session.shown.interruption_count) == (1500, 0, 1)
