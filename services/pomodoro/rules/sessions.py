"""The changes of a session that the specification allows.

planned -> running (start)      running <-> paused (pause, resume, ends of intervals)      running, paused -> finished

Every change appends transitions and derives the session's figures from all of them. `advance` applies the ends of
intervals that are due; every other function takes a session to which that was done.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mesh.rpc.etag import check_etag, etag, next_version
from mesh.runtime.clock import DAY, SECOND, to_json
from services.pomodoro import errors
from services.pomodoro.model import (
    MOST_TRANSITIONS,
    Act,
    Cause,
    Focus,
    IntervalKind,
    Kind,
    Outcome,
    Session,
    Status,
    Task,
    Transition,
)
from services.pomodoro.rules import timeline
from services.pomodoro.rules.timeline import Timeline, plan_of

UNDELETE_WINDOW = 30 * DAY
_INTERVALS_PER_FOCUS = 2


def create(session: Session, tasks: Sequence[Task], act: Act, *, start: bool) -> Focus:
    """The new session, planned or running."""
    focus = derived(Focus(session, tuple(tasks), ()))
    return _append(focus, act, Kind.START, version=1, status=Status.RUNNING, start_time=act.now) if start else focus


def is_due(session: Session, now: int) -> bool:
    """Whether the current interval has ended."""
    return session.deleted_at is None and session.interval_end is not None and session.interval_end <= now


def advance(focus: Focus, now: int, seen: int | None, most: int) -> Iterator[Focus]:
    """The session after each end of an interval that is due, at most so many.

    seen: when a client of the user last called or watched; None when that is not known, and somebody may be there.
    """
    for _ in range(most):
        if not is_due(focus.session, now):
            return
        focus = _end_interval(focus, seen)
        yield focus


def start(focus: Focus, act: Act) -> Focus:
    """The planned session, running."""
    _require_live(focus.session, act)
    if focus.session.status != Status.PLANNED:
        raise errors.FocusSessionAlreadyStarted(focus_session_id=focus.session.id, state=focus.session.status)
    return _append(focus, act, Kind.START, status=Status.RUNNING, start_time=_instant(focus, act))


def pause(focus: Focus, act: Act) -> Focus:
    """The running session, paused."""
    _require_live(focus.session, act)
    if focus.session.status != Status.RUNNING:
        raise errors.FocusSessionNotRunning(focus_session_id=focus.session.id, state=focus.session.status)
    return _append(focus, act, Kind.PAUSE, status=Status.PAUSED)


def resume(focus: Focus, act: Act) -> Focus:
    """The paused session, running."""
    require_active(focus, act)
    if focus.session.status == Status.RUNNING:
        raise errors.FocusSessionRunning(focus_session_id=focus.session.id)
    _require_not_full(focus)
    return _append(focus, act, Kind.RESUME, status=Status.RUNNING)


def skip(focus: Focus, act: Act) -> Focus:
    """The session in its next interval, which runs when it starts by itself and the one before was running."""
    require_active(focus, act)
    _require_not_full(focus)
    following = focus.session.interval_number + 1
    runs = focus.session.status == Status.RUNNING and plan_of(focus.session).starts_by_itself(following)
    return _append(focus, act, Kind.SKIP, status=Status.RUNNING if runs else Status.PAUSED)


def finish(focus: Focus, act: Act) -> Focus:
    """The session, finished."""
    require_active(focus, act)
    return _append(focus, act, Kind.FINISH, status=Status.FINISHED, end_time=_instant(focus, act))


def update(focus: Focus, act: Act, *, changes: Mapping[str, Any]) -> Focus:
    """The planned session with its changes, by the names of the model; `focus` itself when they change nothing."""
    _require_live(focus.session, act)
    if focus.session.status != Status.PLANNED:
        raise errors.FocusSessionAlreadyStarted(focus_session_id=focus.session.id, state=focus.session.status)
    changed = focus.session._replace(**changes)
    return focus if changed == focus.session else focus._replace(session=next_version(changed, act.now))


def delete(focus: Focus, act: Act) -> Focus:
    """The session, deleted; paused when it was running."""
    _require_live(focus.session, act)
    gone = {"deleted_at": act.now, "purge_at": act.now + UNDELETE_WINDOW}
    if focus.session.status == Status.RUNNING:
        return _append(focus, act, Kind.PAUSE, status=Status.PAUSED, **gone)
    return focus._replace(session=next_version(focus.session, act.now, **gone))


def undelete(focus: Focus, act: Act) -> Focus:
    """The deleted session, back."""
    check_etag(act.etag, focus.session.version)
    if focus.session.deleted_at is None:
        raise errors.FocusSessionNotDeleted(focus_session_id=focus.session.id)
    return focus._replace(session=next_version(focus.session, act.now, deleted_at=None, purge_at=None))


def append_gap(focus: Focus, act: Act, cause: Cause, begin: int) -> Focus:
    """The session without the time from `begin` until now."""
    _require_not_full(focus)
    at = _instant(focus, act)
    return _append(focus, act, Kind.GAP, cause=cause, gap_start=min(begin, at), gap_end=at)


def with_tasks(focus: Focus, act: Act, tasks: Sequence[Task], **changes: Any) -> Focus:
    """The session with other tasks; a transition when the current task of a started session becomes another."""
    changed = focus.session._replace(task_count=len(tasks), **changes)
    return _append(focus._replace(session=changed, tasks=tuple(tasks)), act)


def require_active(focus: Focus, act: Act) -> None:
    """Raises unless the session is running or paused."""
    _require_live(focus.session, act)
    if focus.session.status == Status.PLANNED:
        raise errors.FocusSessionNotStarted(focus_session_id=focus.session.id)
    _require_unfinished(focus)


def require_changeable(focus: Focus, act: Act) -> None:
    """Raises unless the tasks of the session may change."""
    _require_live(focus.session, act)
    _require_unfinished(focus)
    _require_not_full(focus)


def _require_unfinished(focus: Focus) -> None:
    if focus.session.status == Status.FINISHED:
        raise errors.FocusSessionFinished(focus_session_id=focus.session.id)


def _require_not_full(focus: Focus) -> None:
    if len(focus.transitions) >= MOST_TRANSITIONS:
        raise errors.FocusSessionFull(focus_session_id=focus.session.id, limit=MOST_TRANSITIONS)


def another_running(session: Session) -> errors.AnotherSessionRunning:
    """The error that reports the running session."""
    end = session.interval_end
    return errors.AnotherSessionRunning(
        focus_session_id=session.id,
        state=session.status,
        etag=etag(session.version),
        interval_end_time="" if end is None else to_json(end),
    )


def timeline_of(focus: Focus, now: int | None = None) -> Timeline:
    """The timeline of a session, as of its last transition or at a later instant within the current interval."""
    at = focus.session.as_of or 0
    return timeline.derive(plan_of(focus.session), focus.transitions, at if now is None else max(now, at))


def at(session: Session, now: int) -> Session:
    """The session with the figures that it has at an instant within its current interval."""
    if session.interval_end is None or session.as_of is None:
        return session
    since = max(0, min(now, session.interval_end) - session.as_of)
    if not since:
        return session
    total = "focused" if session.interval_number % 2 else "rested"
    return session._replace(progress=session.progress + since, **{total: getattr(session, total) + since})


def live(focus: Focus, now: int) -> Focus:
    """The session and its tasks with the figures that they have at an instant within the current interval."""
    session, current = at(focus.session, now), focus.session.current_task_id
    more = session.focused // SECOND - focus.session.focused // SECOND
    if not more:
        return focus._replace(session=session)
    tasks = (
        task._replace(focused_seconds=task.focused_seconds + more) if task.id == current else task
        for task in focus.tasks
    )
    return focus._replace(session=session, tasks=tuple(tasks))


def _end_interval(focus: Focus, seen: int | None) -> Focus:
    session = focus.session
    end = Act(session.interval_end or 0, None, None)
    runs = (
        plan_of(session).starts_by_itself(session.interval_number + 1)
        and len(focus.transitions) < MOST_TRANSITIONS
        and not _nobody_is_there(focus, end.now, seen)
    )
    return _append(focus, end, Kind.END, status=Status.RUNNING if runs else Status.PAUSED)


def _nobody_is_there(focus: Focus, now: int, seen: int | None) -> bool:
    """Whether a whole cycle of intervals, the current one the last, began and ended without any client."""
    if seen is None:
        return False
    acted = max((each.at for each in focus.transitions if each.kind != Kind.END), default=0)
    last = max(acted, seen)
    alone = [each for each in timeline_of(focus, now).intervals if each.start is not None and each.start >= last]
    return len(alone) >= _INTERVALS_PER_FOCUS * focus.session.long_break_interval


def _require_live(session: Session, act: Act) -> None:
    check_etag(act.etag, session.version)
    if session.deleted_at is not None:
        raise errors.FocusSessionDeleted(focus_session_id=session.id)


def _instant(focus: Focus, act: Act) -> int:
    """When the act happens; never before the last transition: another replica's clock may be behind."""
    return max(act.now, focus.session.as_of or 0)


def _append(focus: Focus, act: Act, kind: Kind | None = None, *, version: int = 0, **changes: Any) -> Focus:
    """The next version of the session, with one more transition and one when its current task becomes another.

    changes: of the transition or of the session. version: of a new session.
    """
    now = _instant(focus, act)
    of_transition = {name: changes.pop(name) for name in ("cause", "gap_start", "gap_end") if name in changes}
    changes["current_task_id"] = current_task(focus.session, focus.tasks)
    session = next_version(focus.session, now, **changes)
    if version:
        session = session._replace(version=version)
    appended: list[Transition] = []
    runs = session.status == Status.RUNNING
    following = len(focus.transitions) + 1
    if kind is not None:
        appended.append(Transition(session.id, following, kind, now, runs, act.device_id, **of_transition))
    before = next((each.task_id for each in reversed(focus.transitions) if each.kind == Kind.TASK), None)
    if session.status in (Status.RUNNING, Status.PAUSED) and session.current_task_id != before:
        changed = Transition(session.id, following + len(appended), Kind.TASK, now, runs, act.device_id)
        appended.append(changed._replace(task_id=session.current_task_id))
    return derived(focus._replace(session=session, transitions=(*focus.transitions, *appended)))


def current_task(session: Session, tasks: Sequence[Task]) -> str | None:
    """The task that work counts to: the one that was selected, else the first that is not done."""
    open_tasks = [task.id for task in tasks if not task.is_done]
    if session.selected_task_id in open_tasks:
        return session.selected_task_id
    return next(iter(open_tasks), None)


def derived(focus: Focus) -> Focus:
    """The session and its tasks with the figures as of its last transition."""
    session, transitions = focus.session, focus.transitions
    as_of = transitions[-1].at if transitions else None
    figures = timeline.derive(plan_of(session), transitions, as_of or 0)
    intervals = figures.intervals
    current = intervals[-1]
    runs = session.status == Status.RUNNING and as_of is not None
    session = session._replace(
        interval_number=current.number,
        interval_end=(as_of or 0) + current.length - current.worked if runs else None,
        progress=current.worked,
        focused=figures.focused,
        rested=figures.rested,
        as_of=as_of,
        pomodoro_count=figures.pomodoros,
        short_break_count=figures.count(IntervalKind.SHORT_BREAK),
        long_break_count=figures.count(IntervalKind.LONG_BREAK),
        interruption_count=figures.interruptions,
        current_task_id=current_task(session, focus.tasks),
        outcome=_outcome(figures) if session.status == Status.FINISHED else None,
    )
    return focus._replace(session=session, tasks=_with_figures(focus.tasks, intervals, transitions))


def _with_figures(
    tasks: Sequence[Task], intervals: Sequence[timeline.Interval], transitions: Sequence[Transition]
) -> tuple[Task, ...]:
    pieces = list(timeline.work(intervals, transitions))
    seconds, pomodoros = timeline.seconds_of_tasks(pieces), timeline.pomodoros_of_tasks(pieces)
    return tuple(
        task._replace(focused_seconds=seconds.get(task.id, 0), pomodoro_count=pomodoros.get(task.id, 0))
        for task in tasks
    )


def _outcome(derived: Timeline) -> Outcome:
    if derived.pomodoros:
        return Outcome.COMPLETED
    return Outcome.PARTIAL if derived.focused >= SECOND else Outcome.ABANDONED
