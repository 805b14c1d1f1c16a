"""What a session's clock shows after what was done to it."""

from collections.abc import Callable

import pytest

from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.errors import ServiceError, VersionConflict
from services.pomodoro import errors
from services.pomodoro.model import MOST_TRANSITIONS, Act, Cause, Outcome, Status
from services.pomodoro.rules import sessions, timeline
from tests.unit.pomodoro.drive import LAPTOP, MINUTE, PHONE, Driven, instant, wall

BY_HAND = {"auto_start_breaks": False, "auto_start_focus": False}
BY_ITSELF = {"auto_start_breaks": True, "auto_start_focus": True}


def started(at: str = "10:00", **given: object) -> Driven:
    session = Driven(**given)  # type: ignore[arg-type]  # a plan
    session.at(at).start()
    return session


def test_a_pause_is_not_worked_and_moves_the_end() -> None:
    session = started(**BY_HAND)
    session.at("10:10").pause()
    assert (session.end, session.progress) == ("", 600)
    session.at("10:25").resume()
    assert session.end == "10:40:00"
    interval = session.at("10:45").timeline.intervals[0]
    assert (interval.worked, wall(interval.end), interval.is_pomodoro) == (1500 * SECOND, "10:40:00", True)
    assert (interval.end or 0) - (interval.start or 0) - interval.worked == 900 * SECOND


def test_several_pauses_add_up() -> None:
    session = started()
    for begin, end in (("10:05", "10:07"), ("10:15", "10:45"), ("10:50", "11:50")):
        session.at(begin).pause()
        session.at(end).resume()
    assert (session.at("11:53").worked, session.state, session.end) == (1260, Status.RUNNING, "11:57:00")


def test_an_interval_ends_at_its_end_however_late_the_worker_is() -> None:
    session = started(**BY_HAND).at("13:00")
    interval = session.timeline.intervals[0]
    assert (session.worked, wall(interval.end), interval.is_pomodoro) == (1500, "10:25:00", True)
    assert (session.state, session.progress, session.shown.interval_number) == (Status.PAUSED, 0, 2)
    assert session.focus.session.updated_at == instant("10:25")


def test_a_night_in_which_clocks_are_set_back_has_no_other_seconds() -> None:
    session = Driven(day="2026-10-25")
    session.at("00:50").start()
    session.at("01:40")
    assert (session.worked, wall(session.timeline.intervals[0].end)) == (1500, "01:15:00")


def test_four_focus_intervals_by_hand_offer_the_long_break_and_count_no_waiting() -> None:
    session = started("08:00", auto_start_breaks=False)
    for at in ("08:25", "08:30", "08:55", "09:00", "09:25", "09:30"):
        session.at(at).resume()
    ended = [(each.kind.value, wall(each.end)) for each in session.at("12:00").timeline.intervals if each.end]
    assert [kind for kind, _ in ended] == ["focus", "short_break"] * 3 + ["focus"]
    assert ended[-1] == ("focus", "09:55:00")
    offered = session.timeline.intervals[-1]
    assert (offered.kind, offered.length, offered.start) == ("long_break", 15 * MINUTE, None)
    assert (session.worked, session.state) == (6000, Status.PAUSED)


def test_of_a_pause_and_a_finish_of_one_version_the_second_is_refused() -> None:
    session = started().at("10:12")
    version = session.focus.session.version
    for first, second in ((sessions.pause, sessions.finish), (sessions.finish, sessions.pause)):
        changed = first(session.focus, Act(session.now, LAPTOP, f"v{version}"))
        assert changed.session.focused == 720 * SECOND
        with pytest.raises(VersionConflict) as refused:
            second(changed, Act(session.now, PHONE, f"v{version}"))
        assert refused.value.metadata == {"etag": f"v{version + 1}"}


def test_missed_ends_are_applied_one_after_the_other() -> None:
    session = started(**BY_ITSELF).at("11:02")
    ends = ["10:25:00", "10:30:00", "10:55:00", "11:00:00"]
    assert [wall(each.session.updated_at) for each in session.ended] == ends
    assert [each.session.version for each in session.ended] == [3, 4, 5, 6]
    assert (session.shown.interval_number, session.progress, session.end) == (5, 120, "11:25:00")
    assert (session.shown.pomodoro_count, session.shown.short_break_count) == (2, 2)


@pytest.mark.parametrize(
    ("auto_start_breaks", "auto_start_focus", "at", "number", "state"),
    [
        (True, False, "10:24:59", 1, Status.RUNNING),
        (True, False, "10:25", 2, Status.RUNNING),
        (True, False, "10:30", 3, Status.PAUSED),
        (False, False, "10:25", 2, Status.PAUSED),
        (False, True, "10:25", 2, Status.PAUSED),
        (True, True, "10:30", 3, Status.RUNNING),
    ],
)
def test_the_next_interval_starts_by_itself_or_waits_at_its_beginning(
    auto_start_breaks: bool, auto_start_focus: bool, at: str, number: int, state: Status
) -> None:
    session = started(auto_start_breaks=auto_start_breaks, auto_start_focus=auto_start_focus).at(at)
    assert (session.shown.interval_number, session.state) == (number, state)


@pytest.mark.parametrize(("interval", "number", "ends"), [(4, 8, "12:10:00"), (1, 2, "10:40:00"), (2, 4, "11:10:00")])
def test_the_long_break_comes_after_every_so_many_focus_intervals(interval: int, number: int, ends: str) -> None:
    session = started(**BY_ITSELF, long_break_interval=interval).at("12:10")
    long = session.timeline.intervals[number - 1]
    kinds = [each.kind for each in session.timeline.intervals[:number]]
    assert (kinds.index(long.kind), wall(long.end)) == (number - 1, ends)


@pytest.mark.parametrize(
    ("last_seen", "stops_at", "number"),
    [("10:00", "12:10:00", 9), ("10:10", "12:35:00", 10), ("10:27", "12:40:00", 11), ("12:09", "14:20:00", 17)],
)
def test_a_whole_cycle_without_any_client_stops_the_run(last_seen: str, stops_at: str, number: int) -> None:
    session = started(**BY_ITSELF)
    session.seen = instant(last_seen)
    session.to(instant("10:00") + DAY)
    stopped = session.focus.session
    assert (stopped.status, wall(stopped.updated_at), stopped.interval_number) == (Status.PAUSED, stops_at, number)


def test_a_run_that_somebody_may_watch_goes_on() -> None:
    session = started(**BY_ITSELF)
    session.seen = None
    assert session.to(instant("10:00") + DAY).state == Status.RUNNING


@pytest.mark.parametrize(
    ("until", "pomodoros", "outcome", "seconds"),
    [
        ("10:20:00", 1, Outcome.COMPLETED, 1200),
        ("10:19:59", 0, Outcome.PARTIAL, 1199),
        ("10:00:01", 0, Outcome.PARTIAL, 1),
        ("10:00:00", 0, Outcome.ABANDONED, 0),
    ],
)
def test_eighty_percent_make_a_pomodoro_and_seconds_always_count(
    until: str, pomodoros: int, outcome: Outcome, seconds: int
) -> None:
    session = started().at(until)
    session.finish()
    assert (session.shown.pomodoro_count, session.shown.outcome, session.worked) == (pomodoros, outcome, seconds)
    assert wall(session.shown.end_time) == until


def test_a_skipped_interval_is_judged_and_the_next_starts_as_after_its_end() -> None:
    session = started().at("10:20")
    session.skip()
    assert (session.shown.pomodoro_count, session.shown.interval_number, session.end) == (1, 2, "10:25:00")
    session.at("10:21").skip()
    assert (session.shown.short_break_count, session.state, session.progress) == (1, Status.PAUSED, 0)


def test_a_break_that_was_skipped_before_it_began_does_not_count() -> None:
    session = started(auto_start_breaks=False).at("10:30")
    session.skip()
    assert (session.shown.short_break_count, session.shown.interval_number, session.state) == (0, 3, Status.PAUSED)


def test_what_is_skipped_while_paused_stays_paused() -> None:
    session = started().at("10:05")
    session.pause()
    session.skip()
    assert (session.state, session.shown.interval_number) == (Status.PAUSED, 2)


PLANNED = Driven().focus
RUNNING = started().focus
PAUSED = sessions.pause(RUNNING, Act(instant("10:05"), LAPTOP, None))
FINISHED = sessions.finish(RUNNING, Act(instant("10:05"), LAPTOP, None))
DELETED = sessions.delete(PAUSED, Act(instant("10:06"), LAPTOP, None))
VERBS: dict[str, Callable[..., object]] = {
    "start": sessions.start,
    "pause": sessions.pause,
    "resume": sessions.resume,
    "skip": sessions.skip,
    "finish": sessions.finish,
    "update": lambda focus, act: sessions.update(focus, act, changes={"title": "x"}),
    "delete": sessions.delete,
    "undelete": sessions.undelete,
}


@pytest.mark.parametrize(
    ("before", "verb", "error"),
    [
        *((PLANNED, verb, errors.FocusSessionNotStarted) for verb in ("resume", "skip", "finish")),
        *((FINISHED, verb, errors.FocusSessionFinished) for verb in ("resume", "skip", "finish")),
        *((each, "start", errors.FocusSessionAlreadyStarted) for each in (RUNNING, PAUSED, FINISHED)),
        *((each, "update", errors.FocusSessionAlreadyStarted) for each in (RUNNING, PAUSED, FINISHED)),
        *((each, "pause", errors.FocusSessionNotRunning) for each in (PLANNED, PAUSED, FINISHED)),
        *((each, "undelete", errors.FocusSessionNotDeleted) for each in (PLANNED, RUNNING, PAUSED, FINISHED)),
        *((DELETED, verb, errors.FocusSessionDeleted) for verb in VERBS if verb != "undelete"),
        (RUNNING, "resume", errors.FocusSessionRunning),
    ],
)
def test_what_a_state_does_not_allow_is_refused(before: object, verb: str, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        VERBS[verb](before, Act(instant("10:06"), LAPTOP, None))


def test_a_running_session_is_deleted_paused_and_comes_back_so() -> None:
    deleted = sessions.delete(RUNNING, Act(instant("10:05"), LAPTOP, None))
    assert (deleted.session.status, deleted.session.focused) == (Status.PAUSED, 300 * SECOND)
    assert deleted.session.purge_at == instant("10:05") + 30 * DAY
    back = sessions.undelete(deleted, Act(instant("11:00"), LAPTOP, None))
    assert (back.session.deleted_at, back.session.purge_at, back.session.progress) == (None, None, 300 * SECOND)


def test_an_update_that_changes_nothing_is_no_new_version() -> None:
    assert sessions.update(PLANNED, Act(1, LAPTOP, "v1"), changes={"long_break_interval": 4}) is PLANNED


def test_a_clock_that_is_behind_moves_nothing_back() -> None:
    paused = sessions.pause(RUNNING, Act(instant("09:59"), LAPTOP, None))
    assert (paused.session.focused, paused.session.as_of) == (0, instant("10:00"))


def test_a_session_with_all_its_transitions_can_only_be_stopped() -> None:
    session = started().focus
    act = Act(instant("10:01"), LAPTOP, None)
    while len(session.transitions) < MOST_TRANSITIONS - 1:
        session = sessions.resume(sessions.pause(session, act), act)
    session = sessions.append_gap(session, act, Cause.EXTERNAL, act.now)
    with pytest.raises(errors.FocusSessionFull):
        sessions.skip(session, act)
    with pytest.raises(errors.FocusSessionFull):
        sessions.resume(sessions.pause(session, act), act)
    [ended] = sessions.advance(session, instant("10:25"), None, 9)
    assert ended.session.status == Status.PAUSED
    assert sessions.finish(ended, act).session.status == Status.FINISHED


def test_whole_seconds_of_intervals_add_up_to_those_of_the_session() -> None:
    session = started(**BY_ITSELF)
    for at in ("10:00:10", "10:00:20", "10:00:30", "10:00:40", "10:00:50"):
        session.to(instant(at) + 700_000)
        session.skip()
    session.finish()
    intervals = session.timeline.intervals
    focus = [s for s, each in zip(timeline.seconds_of_intervals(intervals), intervals, strict=True) if each.number % 2]
    assert sum(focus) == session.worked
