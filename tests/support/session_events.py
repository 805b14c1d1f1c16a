"""Events of focus sessions, as pomodoro's relay puts them onto the broker."""

from typing import Any

from mesh.events.outbox import Event
from mesh.runtime import clock
from mesh.runtime.ids import new_id

TOPIC, HISTORY_TOPIC = "session-events", "history-events"


def a_session_event(
    user_id: str, *, session_id: str = "", version: int = 1, kind: str = "session-started", **payload: Any
) -> Event:
    """An event as pomodoro publishes it of a session."""
    return Event(
        id=new_id(),
        type=kind,
        source="pomodoro",
        topics=(TOPIC,),
        user_id=user_id,
        subject=session_id or new_id(),
        subject_name="session_id",
        version=version,
        time=clock.now(),
        payload=payload,
    )


def a_correction(user_id: str, *, session_id: str = "", version: int = 1, **payload: Any) -> Event:
    """An event as history publishes it of a session that its user corrected."""
    event = a_session_event(user_id, session_id=session_id, version=version, kind="archived-session-updated", **payload)
    return event._replace(source="history", topics=(HISTORY_TOPIC,))


def largest_session() -> dict[str, Any]:
    """A payload with as many tasks and intervals as the rules allow: 470 kB."""
    tasks = [
        {"task_id": new_id(), "title": "\x01" * 255, "description": "\x01" * 1000, "is_done": False}
        | {"position": position, "focused_seconds": 10, "pomodoro_count": 1, "todo_task_id": new_id()}
        for position in range(50)
    ]
    begin, end = "2026-03-02T10:00:00.123456Z", "2026-03-02T10:25:00.123456Z"
    intervals = [
        {"number": number, "kind": "short_break", "planned_seconds": 1500, "start_time": begin, "end_time": end}
        | {"seconds": 1500, "is_pomodoro": False, "spans": [{"start_time": begin, "end_time": end}]}
        for number in range(300)
    ]
    return {"title": "\x01" * 255, "tasks": tasks, "intervals": intervals}
