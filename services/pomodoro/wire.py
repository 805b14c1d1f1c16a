"""Converts sessions to and from the messages of the contract; no other file does."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from focusmesh.auth.v1 import preference_pb2
from focusmesh.pomodoro.v1 import (
    focus_session_pb2,
    focus_session_service_pb2,
    guest_claim_service_pb2,
    planned_session_service_pb2,
)
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.rpc.etag import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from services.pomodoro.model import (
    Cause,
    Filter,
    Focus,
    IdleAction,
    IntervalKind,
    Outcome,
    Preferences,
    Session,
    Status,
    SyncResult,
    Task,
)
from services.pomodoro.rules import sessions, timeline
from services.pomodoro.rules.claims import Claimed

_MODEL_NAMES = {
    "focus_minutes": "duration_pomodoro_minutes",
    "short_break_minutes": "duration_short_break_minutes",
    "long_break_minutes": "duration_long_break_minutes",
}
"""Fields of the contract with another name in the model."""
_PLAN = (*_MODEL_NAMES, "long_break_interval", "auto_start_breaks", "auto_start_focus")
_STATE_TO_PB = {
    Status.PLANNED.value: focus_session_pb2.FOCUS_SESSION_STATE_PLANNED,
    Status.RUNNING.value: focus_session_pb2.FOCUS_SESSION_STATE_RUNNING,
    Status.PAUSED.value: focus_session_pb2.FOCUS_SESSION_STATE_PAUSED,
    Status.FINISHED.value: focus_session_pb2.FOCUS_SESSION_STATE_FINISHED,
}
_STATE_FROM_PB = {number: state for state, number in _STATE_TO_PB.items()}
_KIND_TO_PB = {
    IntervalKind.FOCUS: focus_session_pb2.INTERVAL_KIND_FOCUS,
    IntervalKind.SHORT_BREAK: focus_session_pb2.INTERVAL_KIND_SHORT_BREAK,
    IntervalKind.LONG_BREAK: focus_session_pb2.INTERVAL_KIND_LONG_BREAK,
}
_OUTCOME_TO_PB = {
    None: focus_session_pb2.FOCUS_SESSION_OUTCOME_UNSPECIFIED,
    Outcome.COMPLETED.value: focus_session_pb2.FOCUS_SESSION_OUTCOME_COMPLETED,
    Outcome.PARTIAL.value: focus_session_pb2.FOCUS_SESSION_OUTCOME_PARTIAL,
    Outcome.ABANDONED.value: focus_session_pb2.FOCUS_SESSION_OUTCOME_ABANDONED,
}
SYNC_RESULT_TO_PB = {
    SyncResult.CONFIRMED: focus_session_service_pb2.SYNC_RESULT_CONFIRMED,
    SyncResult.GAP_ADDED: focus_session_service_pb2.SYNC_RESULT_GAP_ADDED,
    SyncResult.SERVER_VALUE_KEPT: focus_session_service_pb2.SYNC_RESULT_SERVER_VALUE_KEPT,
    SyncResult.INTERVAL_OVER: focus_session_service_pb2.SYNC_RESULT_INTERVAL_OVER,
}
_IDLE_ACTION_FROM_PB = {
    focus_session_service_pb2.IDLE_ACTION_KEEP: IdleAction.KEEP,
    focus_session_service_pb2.IDLE_ACTION_DISCARD: IdleAction.DISCARD,
    focus_session_service_pb2.IDLE_ACTION_REASSIGN: IdleAction.REASSIGN,
}
INTERRUPTION_FROM_PB = {
    focus_session_service_pb2.INTERRUPTION_KIND_INTERNAL: Cause.INTERNAL,
    focus_session_service_pb2.INTERRUPTION_KIND_EXTERNAL: Cause.EXTERNAL,
}


def timestamp(instant: int) -> Timestamp:
    """The message of an instant."""
    message = Timestamp()
    clock.set_timestamp(message, instant)
    return message


def focus_to_pb(focus: Focus, now: int) -> focus_session_pb2.FocusSession:
    """The message of a session with its tasks, as they are at an instant."""
    current = sessions.live(focus, now)
    message = session_to_pb(current.session)
    message.tasks.extend(map(task_to_pb, current.tasks))
    return message


def session_to_pb(session: Session) -> focus_session_pb2.FocusSession:
    """The message of a session without its tasks."""
    message = focus_session_pb2.FocusSession(
        id=session.id,
        title=session.title,
        state=_STATE_TO_PB[session.status],
        focus_minutes=session.duration_pomodoro_minutes,
        short_break_minutes=session.duration_short_break_minutes,
        long_break_minutes=session.duration_long_break_minutes,
        long_break_interval=session.long_break_interval,
        auto_start_breaks=session.auto_start_breaks,
        auto_start_focus=session.auto_start_focus,
        interval_number=session.interval_number,
        interval_kind=_KIND_TO_PB[timeline.plan_of(session).kind(session.interval_number)],
        progress_seconds=session.progress // SECOND,
        pomodoro_count=session.pomodoro_count,
        short_break_count=session.short_break_count,
        long_break_count=session.long_break_count,
        total_focused_seconds=session.focused // SECOND,
        total_break_seconds=session.rested // SECOND,
        interruption_count=session.interruption_count,
        outcome=_OUTCOME_TO_PB[session.outcome],
        original_event_id=session.original_event_id,
        slot=session.slot,
        planned_minutes=session.planned_minutes,
        task_count=session.task_count,
        current_task_id=session.current_task_id,
        etag=etag(session.version),
    )
    instants = {
        "interval_end_time": session.interval_end,
        "planned_start_time": session.planned_start_time,
        "start_time": session.start_time,
        "end_time": session.end_time,
        "create_time": session.created_at,
        "update_time": session.updated_at,
        "delete_time": session.deleted_at,
        "purge_time": session.purge_at,
    }
    for name, instant in instants.items():
        if instant is not None:
            clock.set_timestamp(getattr(message, name), instant)
    return message


def task_to_pb(task: Task) -> focus_session_pb2.SessionTask:
    """The message of a task."""
    message = focus_session_pb2.SessionTask(
        id=task.id,
        title=task.title,
        description=task.description,
        is_done=task.is_done,
        position=task.position,
        focused_seconds=task.focused_seconds,
        pomodoro_count=task.pomodoro_count,
        todo_task_id=task.todo_task_id,
    )
    clock.set_timestamp(message.create_time, task.created_at)
    clock.set_timestamp(message.update_time, task.updated_at)
    return message


def session_from_pb(
    request: focus_session_service_pb2.CreateFocusSessionRequest,
    preferences: Preferences,
    *,
    session_id: str,
    user_id: str,
    now: int,
) -> Session:
    """The planned session that a request describes. preferences: for what it leaves out."""
    given = {_MODEL_NAMES.get(name, name): getattr(request, name) for name in _given(request, _PLAN)}
    title = request.title if request.HasField("title") else None
    made = {"id": session_id, "user_id": user_id, "title": title, "task_count": len(request.tasks)}
    return _new_session(preferences, now, given | made)


def planned_from_pb(
    request: planned_session_service_pb2.StartPlannedSessionRequest,
    preferences: Preferences,
    *,
    session_id: str,
    now: int,
) -> Session:
    """The session of an occurrence that a request describes."""
    made = {
        "id": session_id,
        "user_id": request.user_id,
        "title": request.title,
        "duration_pomodoro_minutes": min(preferences.duration_pomodoro_minutes, request.planned_minutes),
        "original_event_id": request.original_event_id,
        "slot": request.slot,
        "planned_start_time": clock.from_timestamp(request.planned_start_time),
        "planned_minutes": request.planned_minutes,
        "task_count": int(request.HasField("task")),
    }
    return _new_session(preferences, now, made)


def slot_from_pb(request: planned_session_service_pb2.StartPlannedSessionRequest) -> tuple[str, str, str, str | None]:
    """User, event and slot of an occurrence, and the session that it is known by."""
    known_id = request.focus_session_id if request.HasField("focus_session_id") else None
    return request.user_id, request.original_event_id, request.slot, known_id


def _new_session(preferences: Preferences, now: int, made: dict[str, Any]) -> Session:
    """A planned session with these values, by the names of the model."""
    empty: dict[str, Any] = dict.fromkeys(Session._fields)
    zero = dict.fromkeys(
        (
            *("progress", "focused", "rested", "pomodoro_count", "short_break_count", "long_break_count"),
            "interruption_count",
        ),
        0,
    )
    begun = {"status": Status.PLANNED.value, "interval_number": 1, "created_at": now, "updated_at": now, "version": 1}
    return Session(**empty | zero | preferences._asdict() | begun | made)


def claimed_to_pb(claimed: Iterable[Claimed], now: int) -> list[guest_claim_service_pb2.ClaimedSession]:
    """The messages of claimed sessions as they are at an instant."""
    return [
        guest_claim_service_pb2.ClaimedSession(
            focus_session=session_to_pb(sessions.at(focus.session, now)), overlap_seconds=overlap // SECOND
        )
        for focus, overlap in claimed
    ]


def needs_preferences(request: focus_session_service_pb2.CreateFocusSessionRequest) -> bool:
    """Whether the request leaves out something that users have settings for."""
    return len(_given(request, _PLAN)) < len(_PLAN)


def preferences_from_pb(message: preference_pb2.UserPreferences) -> Preferences:
    """What a session takes from its user's settings."""
    return Preferences(
        message.default_pomodoro_minutes,
        message.default_short_break_minutes,
        message.default_long_break_minutes,
        message.long_break_interval,
        message.auto_start_breaks,
        message.auto_start_focus,
    )


def tasks_from_pb(
    requests: Sequence[focus_session_service_pb2.NewSessionTask | focus_session_service_pb2.AddSessionTaskRequest],
    ids: Sequence[str],
    *,
    session_id: str,
    now: int,
) -> list[Task]:
    """The new tasks that a request describes, in order, with these ids."""
    return [
        Task(
            id=task_id,
            session_id=session_id,
            title=new.title,
            description=new.description if new.HasField("description") else None,
            is_done=False,
            position=position,
            focused_seconds=0,
            pomodoro_count=0,
            todo_task_id=new.todo_task_id if new.HasField("todo_task_id") else None,
            created_at=now,
            updated_at=now,
        )
        for position, (task_id, new) in enumerate(zip(ids, requests, strict=True))
    ]


def changes_from_pb(
    request: focus_session_service_pb2.UpdateFocusSessionRequest | focus_session_service_pb2.UpdateSessionTaskRequest,
) -> dict[str, Any]:
    """The new values of the fields that the mask names, by the names of the model; unset means cleared."""
    paths = update_paths(request)
    given = _given(request, paths)
    links = links_from_pb(request) if "todo_task_id" in given else {}
    return {
        _MODEL_NAMES.get(path, path): links.get(path, getattr(request, path)) if path in given else None
        for path in paths
    }


def links_from_pb(request: Message) -> dict[str, str]:
    """The todo tasks that a request links to, by the path of the field that names them."""
    if isinstance(request, focus_session_service_pb2.CreateFocusSessionRequest):
        linking: dict[str, Any] = {f"tasks[{index}].todo_task_id": new for index, new in enumerate(request.tasks)}
    else:
        linking = {"todo_task_id": request}
    return {path: each.todo_task_id for path, each in linking.items() if each.HasField("todo_task_id")}


def idle_from_pb(request: focus_session_service_pb2.ReportIdleRequest) -> dict[str, Any]:
    """Since when the user was idle, and what becomes of it."""
    since = clock.from_timestamp(request.idle_start_time)
    return {"since": since, "action": _IDLE_ACTION_FROM_PB[request.action]}


def filter_from_pb(request: focus_session_service_pb2.ListFocusSessionsRequest) -> Filter:
    """The filters of a list request."""
    return Filter(tuple(_STATE_FROM_PB[state] for state in request.states), request.show_deleted)


def _given(request: Message, names: Collection[str]) -> list[str]:
    """Those of these fields that the request sets."""
    return [name for name in names if request.HasField(name)]
