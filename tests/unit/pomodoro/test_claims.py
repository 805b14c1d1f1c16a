"""A guest's session becomes one of an account, and no second counts twice."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import SECOND
from services.pomodoro.errors import FocusSessionRunning
from services.pomodoro.model import Act, Cause, Focus, IdleAction, Kind, Status
from services.pomodoro.rules import claims, gaps, sessions, timeline
from services.pomodoro.rules.timeline import Span
from tests.unit.pomodoro.drive import MINUTE, Driven, instant

ACTS = ("pause", "resume", "skip", "interrupt", "idle", "break")
START = instant("10:00")
steps = st.lists(st.tuples(st.integers(1, 40 * 60), st.sampled_from(ACTS)), max_size=12)


def driven(begin: int, done: Sequence[tuple[int, str]], *, finishes: bool) -> Driven:
    """A session that starts so many seconds after ten, and to which these things happen one after the other."""
    session = Driven(auto_start_focus=True).to(START + begin * SECOND)
    session.start()
    for seconds, act in done:
        session.to(session.now + seconds * SECOND)
        if act in ("pause", "resume") and session.state == Status.PAUSED:
            session.resume()
        elif act == "pause":
            session.pause()
        elif act == "skip":
            session.skip()
        elif act == "interrupt":
            session.interrupt(60)
        elif act in ("idle", "break"):
            action = IdleAction.DISCARD if act == "idle" else IdleAction.REASSIGN
            session.focus = gaps.report_idle(session.focus, session.act, since=session.now - 5 * MINUTE, action=action)
    if finishes:
        session.finish()
    return session


def spans_of(focus: Focus, now: int) -> list[Span]:
    return list(claims.spans(focus, now))


def total_of(focus: Focus, now: int) -> int:
    shown = sessions.at(focus.session, now)
    return shown.focused + shown.rested


@given(steps, steps, st.integers(0, 60 * 60), st.booleans(), st.booleans())
def test_what_counts_afterwards_is_the_union_and_nothing_of_it_twice(
    theirs: list[tuple[int, str]], own: list[tuple[int, str]], begin: int, finishes: bool, another_runs: bool
) -> None:
    guest, user = driven(0, theirs, finishes=finishes), driven(begin, own, finishes=True)
    now = max(guest.now, user.now)
    guest.to(now)
    ran, of_user = spans_of(guest.focus, now), timeline.merged(spans_of(user.focus, now))

    focus, overlap = claims.claim(guest.focus, Act(now, "d", None), "u", of_user, another_runs=another_runs)

    left = spans_of(focus, now)
    assert tuple(left) == timeline.without(ran, of_user)
    assert timeline.total(left) == total_of(focus, now)
    assert total_of(focus, now) + overlap == total_of(guest.focus, now)
    assert timeline.without(tuple(left), of_user) == tuple(left)
    numbers = [each.number for each in focus.transitions]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sorted(each.at for each in focus.transitions) == [each.at for each in focus.transitions]
    assert sum(task.focused_seconds for task in focus.tasks) <= focus.session.focused // SECOND
    assert (focus.session.status == Status.RUNNING) is (guest.state == Status.RUNNING and not another_runs)
    assert sessions.derived(focus).session == focus.session


def test_a_session_that_meets_no_other_only_changes_hands() -> None:
    guest = driven(0, [(600, "pause")], finishes=False)
    focus, overlap = claims.claim(guest.focus, guest.act, "account", [], another_runs=False)
    before = guest.focus.session
    assert overlap == 0
    changes = {"user_id": "account", "version": before.version + 1, "updated_at": guest.now}
    assert (focus.session, focus.transitions) == (before._replace(**changes), guest.focus.transitions)
    assert focus.stored is None


def test_a_running_session_that_overlaps_ends_later() -> None:
    guest = driven(0, [], finishes=False).to(START + 10 * MINUTE)
    own = [(START + 2 * MINUTE, START + 5 * MINUTE)]
    focus, overlap = claims.claim(guest.focus, guest.act, "u", own, another_runs=False)
    assert (overlap, focus.session.interval_end) == (3 * MINUTE, START + 28 * MINUTE)
    with pytest.raises(FocusSessionRunning):
        sessions.resume(focus, guest.act)


def test_a_pomodoro_that_overlaps_too_much_is_none_any_more() -> None:
    guest = driven(0, [(25 * 60 + 1, "skip")], finishes=True)
    assert guest.focus.session.pomodoro_count == 1
    own = [(START, START + 6 * MINUTE)]
    focus, _ = claims.claim(guest.focus, guest.act, "u", own, another_runs=False)
    assert (focus.session.pomodoro_count, focus.session.outcome) == (0, "partial")
    assert focus.transitions[-1].kind == Kind.FINISH


def test_very_many_overlaps_are_taken_out_as_one() -> None:
    guest = driven(0, [], finishes=False).to(START + 20 * MINUTE)
    own = [(START + at * SECOND, START + (at + 5) * SECOND) for at in range(10, 1000, 10)]
    focus, overlap = claims.claim(guest.focus, guest.act, "u", own, another_runs=False)
    added = [each for each in focus.transitions if each.cause == Cause.OVERLAP]
    assert [(each.gap_start, each.gap_end) for each in added] == [(own[0][0], own[-1][1])]
    assert overlap == own[-1][1] - own[0][0]
