"""Converts events and messages of the contract to and from what history keeps; no other file does."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from focusmesh.history.v1 import archived_session_pb2, focus_summary_pb2, goals_pb2
from focusmesh.history.v1 import history_service_pb2 as pb
from google.protobuf import json_format

from mesh.events.envelope import ConsumedEvent
from mesh.rpc.etag import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from services.history.model import (
    Archived,
    Bucket,
    Figures,
    Goals,
    Group,
    Interval,
    Outcome,
    Record,
    Recorded,
    Span,
    Status,
    Task,
    Vacation,
    Window,
    Zone,
)
from services.history.rules import goals as goal_rules
from services.history.rules import windows
from services.history.rules.sessions import spanned

_STATUS_TO_PB = {
    Status.FINISHED.value: archived_session_pb2.ARCHIVED_SESSION_STATE_FINISHED,
    Status.PAUSED.value: archived_session_pb2.ARCHIVED_SESSION_STATE_PAUSED,
}
_OUTCOME_TO_PB = {
    None: archived_session_pb2.ARCHIVED_SESSION_OUTCOME_UNSPECIFIED,
    Outcome.COMPLETED.value: archived_session_pb2.ARCHIVED_SESSION_OUTCOME_COMPLETED,
    Outcome.PARTIAL.value: archived_session_pb2.ARCHIVED_SESSION_OUTCOME_PARTIAL,
    Outcome.ABANDONED.value: archived_session_pb2.ARCHIVED_SESSION_OUTCOME_ABANDONED,
}
_GROUP_FROM_PB = {
    pb.SUMMARY_GROUP_DAY: Group.DAY,
    pb.SUMMARY_GROUP_WEEK: Group.WEEK,
    pb.SUMMARY_GROUP_MONTH: Group.MONTH,
    pb.SUMMARY_GROUP_YEAR: Group.YEAR,
    pb.SUMMARY_GROUP_TASK: Group.TASK,
    pb.SUMMARY_GROUP_HOUR: Group.HOUR,
    pb.SUMMARY_GROUP_WEEKDAY: Group.WEEKDAY,
}
_COPIED = (
    *("pomodoro_count", "short_break_count", "long_break_count", "long_break_interval", "total_focused_seconds"),
    *("total_break_seconds", "interruption_count", "original_event_id", "slot", "planned_minutes"),
    *("duration_pomodoro_minutes", "duration_short_break_minutes", "duration_long_break_minutes"),
)
"""Fields of `session-events` that the archive keeps as they are."""
_INSTANTS = {
    "start_time": "start_time",
    "end_time": "end_time",
    "planned_start_time": "planned_start_time",
    "archive_time": "created_at",
    "update_time": "updated_at",
    "delete_time": "deleted_at",
    "purge_time": "purge_at",
}
_CSV = (
    *("id", "title", "state", "outcome", "is_manual", "start_time", "end_time", "archive_time"),
    *("total_focused_seconds", "total_break_seconds", "pomodoro_count", "short_break_count", "long_break_count"),
    *("interruption_count", "planned_start_time", "planned_minutes", "tasks"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a cell begins that spreadsheets run as a formula."""


def zone_from_event(event: ConsumedEvent) -> tuple[Zone, str]:
    """Where a user is since an event of `user-events`, and when their weeks begin."""
    payload = event.data["payload"]
    return Zone(event.time, payload["time_zone"], payload["day_start_minutes"]), payload.get("week_start", "monday")


def recorded_from_event(event: ConsumedEvent) -> Recorded:
    """The intervals of a session that have ended."""
    payload = event.data["payload"]
    deleted_at = _instant(payload["delete_time"])
    linked = {task["task_id"]: task["todo_task_id"] for task in payload["tasks"] if task.get("todo_task_id")}
    intervals = tuple(map(_interval, payload["intervals"]))
    return spanned(Recorded(event.subject, event.user_id, None, None, intervals, linked, None, deleted_at, None))


def record_from_event(event: ConsumedEvent, recorded: Recorded) -> Record | None:
    """The session as the archive keeps it; None while it is not over."""
    payload = event.data["payload"]
    is_archived = event.type == "session-archived"
    if not is_archived and payload["status"] != Status.FINISHED:
        return None
    created_at = (None if is_archived else _instant(payload["end_time"])) or event.time
    tasks = tuple(_task(task) for task in payload["tasks"])
    copied: dict[str, Any] = {name: payload.get(name) for name in _COPIED}
    copied |= {name: _instant(payload.get(name)) for name in ("start_time", "planned_start_time")}
    archived = Archived(
        **copied,
        id=event.subject,
        original_session_id=event.subject,
        user_id=event.user_id,
        title=payload["title"],
        status=Status.PAUSED.value if is_archived else Status.FINISHED.value,
        outcome=payload["outcome"],
        task_count=len(tasks),
        end_time=_instant(payload["end_time"]) or recorded.end_time,
        created_at=created_at,
        updated_at=event.time,
        deleted_at=None,
        purge_at=None,
        version=event.version,
    )
    return Record(archived, recorded._replace(archived_at=created_at), tasks)


def titles_from_event(event: ConsumedEvent) -> Iterator[tuple[str, str, str]]:
    """The titles of the tasks of a session: user, task as figures know it, title."""
    for task in event.data["payload"]["tasks"]:
        yield event.user_id, task.get("todo_task_id") or task["task_id"], task["title"]


def manual_from_pb(
    request: pb.AddManualSessionRequest, *, session_id: str, task_id: str, user_id: str, now: int
) -> tuple[Archived, Task | None]:
    """The session that a request describes, without its figures, and its task."""
    begin, end = clock.from_timestamp(request.start_time), clock.from_timestamp(request.end_time)
    empty: dict[str, Any] = dict.fromkeys(Archived._fields)
    zero = dict.fromkeys([name for name in Archived._fields if name.endswith(("_count", "_seconds", "_minutes"))], 0)
    task = None
    if request.HasField("task_title"):
        linked = request.todo_task_id if request.HasField("todo_task_id") else None
        task = Task(task_id, request.task_title, None, False, 0, 0, 0, linked)
    made = {
        "id": session_id,
        "user_id": user_id,
        "title": request.title if request.HasField("title") else None,
        "status": Status.FINISHED.value,
        "long_break_interval": 0,
        "planned_minutes": None,
        "task_count": 0 if task is None else 1,
        "start_time": begin,
        "end_time": end,
        "created_at": end,
        "updated_at": now,
        "version": 1,
    }
    return Archived(**empty | zero | made), task


def changes_from_pb(request: pb.UpdateArchivedSessionRequest) -> dict[str, Any]:
    """The new values of the fields that the mask names, by the names of the model; unset means cleared."""
    values = {
        "title": request.title if request.HasField("title") else None,
        "start_time": clock.from_timestamp(request.start_time),
        "end_time": clock.from_timestamp(request.end_time),
    }
    return {path: values[path] for path in update_paths(request)}


def goal_changes_from_pb(request: pb.UpdateGoalsRequest) -> dict[str, Any]:
    """The new values of the goals that the mask names; unset means cleared. Raises InvalidRequest."""
    values = {
        "daily_minutes": request.daily_minutes if request.HasField("daily_minutes") else None,
        "weekly_minutes": request.weekly_minutes if request.HasField("weekly_minutes") else None,
        "days_off": tuple(sorted(request.days_off.days)),
        "vacations": tuple(
            Vacation(*(windows.parse_date("vacations", text) for text in (each.first_date, each.last_date)))
            for each in request.vacations.vacations
        ),
    }
    return {path: values[path] for path in update_paths(request)}


def window_from_pb(request: pb.ListArchivedSessionsRequest | pb.ExportHistoryRequest) -> Window:
    """Which sessions a request asks for."""
    begin, end = (
        clock.from_timestamp(getattr(request, name)) if request.HasField(name) else None
        for name in ("archived_from", "archived_before")
    )
    return Window(begin, end, getattr(request, "show_deleted", False), request.include_cold)


def dates_from_pb(
    request: pb.SummarizeFocusRequest | pb.SummarizePlanRequest | pb.GetHeatmapRequest, most_days: int
) -> tuple[date, date]:
    """The window of dates that a request asks for; raises InvalidRequest."""
    first = windows.parse_date("from_date", request.from_date)
    before = windows.parse_date("before_date", request.before_date)
    windows.require_window(first, before, most_days)
    return first, before


def group_from_pb(group: "pb.SummaryGroup.ValueType") -> Group:
    """How figures are grouped."""
    return _GROUP_FROM_PB[group]


def archived_to_pb(
    archived: Archived, tasks: Sequence[Task] = (), *, is_cold: bool = False
) -> archived_session_pb2.ArchivedSession:
    """The message of a session. tasks: none in a list."""
    message = archived_session_pb2.ArchivedSession(
        id=archived.id,
        title=archived.title,
        state=_STATUS_TO_PB[archived.status],
        outcome=_OUTCOME_TO_PB[archived.outcome],
        is_manual=archived.original_session_id is None,
        focus_minutes=archived.duration_pomodoro_minutes,
        short_break_minutes=archived.duration_short_break_minutes,
        long_break_minutes=archived.duration_long_break_minutes,
        long_break_interval=archived.long_break_interval,
        pomodoro_count=archived.pomodoro_count,
        short_break_count=archived.short_break_count,
        long_break_count=archived.long_break_count,
        total_focused_seconds=archived.total_focused_seconds,
        total_break_seconds=archived.total_break_seconds,
        interruption_count=archived.interruption_count,
        task_count=archived.task_count,
        original_event_id=archived.original_event_id,
        slot=archived.slot,
        planned_minutes=archived.planned_minutes,
        tasks=map(_task_to_pb, tasks),
        is_cold=is_cold,
        etag=etag(archived.version),
    )
    for name, field in _INSTANTS.items():
        instant = getattr(archived, field)
        if instant is not None:
            clock.set_timestamp(getattr(message, name), instant)
    return message


def figures_to_pb(figures: Figures) -> focus_summary_pb2.FocusFigures:
    """The message of figures."""
    focused, breaks, pomodoros, planned = figures
    return focus_summary_pb2.FocusFigures(
        focused_seconds=focused, break_seconds=breaks, pomodoro_count=pomodoros, planned_seconds=planned
    )


def bucket_to_pb(bucket: Bucket, group: Group) -> focus_summary_pb2.FocusBucket:
    """The message of a group."""
    day, number, task_id, title, figures = bucket
    message = figures_to_pb(figures)
    if day is not None:
        return focus_summary_pb2.FocusBucket(date=day.isoformat(), figures=message)
    if group is Group.HOUR:
        return focus_summary_pb2.FocusBucket(hour=number, figures=message)
    if group is Group.WEEKDAY:
        return focus_summary_pb2.FocusBucket(weekday=_weekday(number or 0), figures=message)
    return focus_summary_pb2.FocusBucket(task_id=task_id, task_title=title, figures=message)


def heatmap_to_pb(days: Sequence[tuple[date, Figures]]) -> Iterator[focus_summary_pb2.HeatmapDay]:
    """The messages of the days of a window."""
    most = max((figures.focused_seconds for _, figures in days), default=0)
    for day, figures in days:
        level = windows.level(figures.focused_seconds, most)
        yield focus_summary_pb2.HeatmapDay(date=day.isoformat(), figures=figures_to_pb(figures), level=level)


def goals_to_pb(goals: Goals) -> goals_pb2.Goals:
    """The message of goals."""
    message = goals_pb2.Goals(
        daily_minutes=goals.daily_minutes,
        weekly_minutes=goals.weekly_minutes,
        days_off=goals_pb2.DaysOff(days=map(_weekday, goals.days_off)),
        vacations=goals_pb2.Vacations(
            vacations=[
                goals_pb2.Vacation(first_date=first.isoformat(), last_date=last.isoformat())
                for first, last in goals.vacations
            ]
        ),
        etag=etag(goals.version),
    )
    clock.set_timestamp(message.update_time, goals.updated_at or None)
    return message


def progress_to_pb(first: date, seconds: int, minutes: int | None) -> goals_pb2.GoalProgress:
    """How far a goal of so many minutes is reached since a date."""
    is_reached = minutes is not None and seconds >= minutes * 60
    return goals_pb2.GoalProgress(first_date=first.isoformat(), focused_seconds=seconds, is_reached=is_reached)


def streak_to_pb(streak: goal_rules.Streak, today: date, *, today_qualifies: bool) -> focus_summary_pb2.Streak:
    """The message of a streak."""
    return focus_summary_pb2.Streak(
        current_days=streak.current,
        longest_days=streak.longest,
        today_qualifies=today_qualifies,
        today=today.isoformat(),
    )


def csv_row(message: archived_session_pb2.ArchivedSession) -> str:
    """A session as a row of an export, RFC 4180; its tasks as one text. No cell is a formula."""
    values = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    tasks = "; ".join(f"{task.title} ({task.focused_seconds} s)" for task in message.tasks)
    return _csv_line([values.get(name, "") for name in _CSV[:-1]] + [tasks])


def csv_page(rows: Sequence[str], *, is_first: bool, is_last: bool) -> str:  # noqa: ARG001 (as of JSON)
    """A page of an export; the first begins with the names of the columns."""
    return (_csv_line(_CSV) if is_first else "") + "".join(rows)


def json_text(message: archived_session_pb2.ArchivedSession) -> str:
    """A session as an element of an export."""
    return json_format.MessageToJson(message, indent=None)


def json_page(rows: Sequence[str], *, is_first: bool, is_last: bool) -> str:
    """A page of an export: all of them one after the other are an array, also when sessions went away between two."""
    before = "[" if is_first else "," if rows else ""
    return before + "\n" + ",\n".join(rows) + ("\n]\n" if is_last else "")


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(map(_csv_cell, values))
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    return f"'{value}" if str(value).startswith(_FORMULA) else value


def _weekday(number: int) -> "focus_summary_pb2.DayOfWeek.ValueType":
    return focus_summary_pb2.DayOfWeek.values()[number]


def _interval(payload: Mapping[str, Any]) -> Interval:
    spans = tuple(
        Span(instant_from_json(span["start_time"]), instant_from_json(span["end_time"]), span["task_id"])
        for span in payload["spans"]
    )
    end = instant_from_json(payload["end_time"])
    return Interval(payload["number"], payload["kind"], payload["planned_seconds"], end, payload["is_pomodoro"], spans)


def _task(payload: Mapping[str, Any]) -> Task:
    return Task._make(payload.get(name) for name in Task._fields)


def _task_to_pb(task: Task) -> archived_session_pb2.ArchivedTask:
    values = task._asdict()
    return archived_session_pb2.ArchivedTask(id=values.pop("task_id"), **values)


def _instant(text: str | None) -> int | None:
    return None if text is None else instant_from_json(text)


def instant_from_json(text: str) -> int:
    """The instant of an event, RFC 3339."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * SECOND + moment.microsecond
