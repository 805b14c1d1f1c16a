"""What the pomodoro service publishes, to `session-events`."""

from typing import Any

from mesh.events.outbox import Event
from mesh.runtime.clock import SECOND, to_datetime, to_datetime_or_none
from mesh.runtime.ids import new_id
from services.pomodoro.model import Focus, IntervalKind, Status
from services.pomodoro.rules import sessions, timeline
from services.pomodoro.rules.timeline import Interval

TOPICS = ("session-events",)


def session_created(focus: Focus) -> Event:
    """For a session that is planned."""
    return _event("session-created", focus)


def session_started(focus: Focus) -> Event:
    """For a session whose first interval runs."""
    return _event("session-started", focus)


def session_paused(focus: Focus) -> Event:
    """For a session that was paused by its user."""
    return _event("session-paused", focus)


def session_resumed(focus: Focus) -> Event:
    """For a session that runs again."""
    return _event("session-resumed", focus)


def session_phase_changed(focus: Focus) -> Event:
    """For an interval that ended or was skipped, whether the next one runs or waits."""
    return _event("session-phase-changed", focus)


def session_finished(focus: Focus) -> Event:
    """For a session that is over."""
    return _event("session-finished", focus)


def session_updated(focus: Focus) -> Event:
    """For a session whose plan, tasks or gaps changed, or that was undeleted."""
    return _event("session-updated", focus)


def session_deleted(focus: Focus) -> Event:
    """For a session that was deleted."""
    return _event("session-deleted", focus)


def session_archived(focus: Focus) -> Event:
    """For a session that was paused for too long: its current interval is over."""
    return _event("session-archived", focus)


def session_claimed(focus: Focus) -> Event:
    """For a session that was a guest's, of which nothing was published before."""
    kinds = {Status.PLANNED: "created", Status.RUNNING: "started", Status.PAUSED: "paused", Status.FINISHED: "finished"}
    return _event(f"session-{kinds[Status(focus.session.status)]}", focus)


def _event(kind: str, focus: Focus) -> Event:
    session = focus.session
    return Event(
        id=new_id(),
        type=kind,
        source="pomodoro",
        topics=TOPICS,
        user_id=session.user_id,
        subject=session.id,
        subject_name="session_id",
        version=session.version,
        time=session.updated_at,
        payload=_snapshot(sessions.live(focus, session.updated_at), ends_all=kind == "session-archived"),
    )


def _snapshot(focus: Focus, *, ends_all: bool) -> dict[str, Any]:
    session = focus.session
    return {
        "title": session.title,
        "status": session.status,
        "duration_pomodoro_minutes": session.duration_pomodoro_minutes,
        "duration_short_break_minutes": session.duration_short_break_minutes,
        "duration_long_break_minutes": session.duration_long_break_minutes,
        "long_break_interval": session.long_break_interval,
        "auto_start_breaks": session.auto_start_breaks,
        "auto_start_focus": session.auto_start_focus,
        "interval_number": session.interval_number,
        "interval_kind": timeline.plan_of(session).kind(session.interval_number),
        "progress_seconds": session.progress // SECOND,
        "interval_end_time": to_datetime_or_none(session.interval_end),
        "pomodoro_count": session.pomodoro_count,
        "short_break_count": session.short_break_count,
        "long_break_count": session.long_break_count,
        "total_focused_seconds": session.focused // SECOND,
        "total_break_seconds": session.rested // SECOND,
        "interruption_count": session.interruption_count,
        "outcome": session.outcome,
        "start_time": to_datetime_or_none(session.start_time),
        "end_time": to_datetime_or_none(session.end_time),
        "delete_time": to_datetime_or_none(session.deleted_at),
        "current_task_id": session.current_task_id,
        "tasks": [
            {
                "task_id": task.id,
                "title": task.title,
                "description": task.description,
                "is_done": task.is_done,
                "position": task.position,
                "focused_seconds": task.focused_seconds,
                "pomodoro_count": task.pomodoro_count,
                "todo_task_id": task.todo_task_id,
            }
            for task in focus.tasks
        ],
        "intervals": _intervals(focus, ends_all=ends_all),
        "original_event_id": session.original_event_id,
        "slot": session.slot,
        "planned_start_time": to_datetime_or_none(session.planned_start_time),
        "planned_minutes": session.planned_minutes,
    }


def _intervals(focus: Focus, *, ends_all: bool) -> list[dict[str, Any]]:
    intervals = sessions.timeline_of(focus).intervals
    if ends_all:
        intervals = (*intervals[:-1], intervals[-1]._replace(end=focus.session.as_of))
    spans: dict[int, list[dict[str, Any]]] = {
        each.number: [] if each.kind is IntervalKind.FOCUS else [_span(*span, None) for span in each.spans]
        for each in intervals
    }
    task_ids = {task.id for task in focus.tasks}
    for piece in timeline.work(intervals, focus.transitions):
        task_id = piece.task_id if piece.task_id in task_ids else None
        spans[piece.interval.number].append(_span(piece.begin, piece.end, task_id))
    seconds = timeline.seconds_of_intervals(intervals)
    return [
        _interval(each, whole, spans[each.number])
        for each, whole in zip(intervals, seconds, strict=True)
        if each.end is not None
    ]


def _interval(interval: Interval, seconds: int, spans: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "number": interval.number,
        "kind": interval.kind,
        "planned_seconds": interval.length // SECOND,
        "start_time": to_datetime_or_none(interval.start),
        "end_time": to_datetime_or_none(interval.end),
        "seconds": seconds,
        "is_pomodoro": interval.is_pomodoro,
        "spans": spans,
    }


def _span(begin: int, end: int, task_id: str | None) -> dict[str, Any]:
    return {"start_time": to_datetime(begin), "end_time": to_datetime(end), "task_id": task_id}
