"""Focus sessions: requests to pomodoro, and its events."""

from typing import Any

from focusmesh.calendar.v1 import occurrence_service_pb2 as pb
from focusmesh.pomodoro.v1 import focus_session_service_pb2
from focusmesh.pomodoro.v1.planned_session_service_pb2 import StartPlannedSessionRequest

from mesh.events.envelope import ConsumedEvent
from mesh.runtime.clock import set_timestamp
from services.calendar.model import FocusSession, Occurrence
from services.calendar.rules.occurrences import row_of

_WHEN_RUNNING = {
    pb.WHEN_SESSION_RUNS_UNSPECIFIED: focus_session_service_pb2.WHEN_RUNNING_UNSPECIFIED,
    pb.WHEN_SESSION_RUNS_PAUSE_CURRENT: focus_session_service_pb2.WHEN_RUNNING_PAUSE_CURRENT,
    pb.WHEN_SESSION_RUNS_FINISH_CURRENT: focus_session_service_pb2.WHEN_RUNNING_FINISH_CURRENT,
}
_DONE = ("completed", "partial")


def start_to_pb(
    request: pb.StartOccurrenceRequest,
    occurrence: Occurrence,
    *,
    task_title: str | None,
    request_id: str,
    device_id: str,
) -> StartPlannedSessionRequest:
    """What pomodoro is asked. task_title: of the task of its event; None without one."""
    task = None
    if task_title is not None:
        task = focus_session_service_pb2.NewSessionTask(title=task_title, todo_task_id=occurrence.event.todo_task_id)
    message = StartPlannedSessionRequest(
        user_id=occurrence.event.user_id,
        request_id=request_id,
        title=occurrence.title,
        original_event_id=occurrence.event.id,
        slot=occurrence.slot,
        planned_minutes=max(1, occurrence.planned_minutes),
        task=task,
        when_running=_WHEN_RUNNING[request.when_running],
        device_id=device_id,
        focus_session_id=row_of(occurrence).session_id,
    )
    set_timestamp(message.planned_start_time, occurrence.start)
    return message


def session_from_event(event: ConsumedEvent) -> FocusSession | None:
    """The session that an event of pomodoro is about; None when no occurrence was started as it."""
    payload: dict[str, Any] = event.data["payload"]
    if payload.get("original_event_id") is None:
        return None
    return FocusSession(
        id=event.subject,
        user_id=event.user_id,
        event_id=payload["original_event_id"],
        slot=payload["slot"],
        is_gone=payload["delete_time"] is not None or payload["outcome"] == "abandoned",
        is_done=payload["outcome"] in _DONE,
        changed_at=event.time,
    )
