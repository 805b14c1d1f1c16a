"""Why a reminder is not sent any more: its task or its occurrence is over, or at another time."""

from collections.abc import Mapping
from typing import Any

from mesh.recurrence.document import from_document
from mesh.recurrence.rule import Frequency, Rule
from mesh.recurrence.series import Series, find, parse_slot
from services.notification.model import EventState, OccurrenceState, Planned, Refusal, TaskState

_ONCE = Rule(Frequency.DAILY, times=1)
_OF_OCCURRENCE = {"cancelled": Refusal.OCCURRENCE_CANCELLED, "completed": Refusal.OCCURRENCE_COMPLETED}
_OF_EVENT = {"cancelled": Refusal.EVENT_CANCELLED, "completed": Refusal.EVENT_COMPLETED}


def refusal(payload: Mapping[str, Any], state: TaskState | Planned | None) -> str | None:
    """Why nothing of a reminder is sent any more, judged by the last state of what it is of; None when something is."""
    if state is None:
        return None
    return _of_task(payload, state) if isinstance(state, TaskState) else _of_planned(payload, state)


def _of_task(payload: Mapping[str, Any], task: TaskState) -> str | None:
    """A reminder is of an instant of the task, or of an offset to its due time: when that changes, it is void."""
    if task.is_deleted:
        return Refusal.TASK_DELETED
    if not task.is_open:
        return Refusal.TASK_COMPLETED
    if payload.get("reminder") is not None:
        moved = payload.get("due_date") != task.due_date
    else:
        moved = payload.get("reminder_time", task.reminder_time) != task.reminder_time
    return Refusal.TASK_MOVED if moved else None


def _of_planned(payload: Mapping[str, Any], planned: Planned) -> str | None:
    """A reminder is of an occurrence at its start, or of the whole event.

    Only what changed after it fired counts: what was before, the calendar knew.
    """
    fired, (event, occurrence, _) = (payload["epoch"], payload["version"]), planned
    if (event.epoch, event.version) > fired and (reason := _of_event(payload, event)):
        goes_on = reason == Refusal.OCCURRENCE_MOVED and _takes_place(payload, planned.successor)
        return None if goes_on else reason
    if occurrence is not None and (occurrence.epoch, occurrence.version) > fired:
        return _of_changed(payload, occurrence)
    return None


def _of_event(payload: Mapping[str, Any], event: EventState) -> str | None:
    if event.is_deleted:
        return Refusal.EVENT_DELETED
    slot = payload.get("slot")
    if slot is None or event.status == "cancelled":
        return _OF_EVENT.get(event.status)
    if not _has_slot(event, slot):
        return Refusal.OCCURRENCE_MOVED
    is_at_slot = payload["start"] == slot  # one that was moved keeps its instant
    return Refusal.OCCURRENCE_MOVED if is_at_slot and payload.get("time_zone") != event.time_zone else None


def _takes_place(payload: Mapping[str, Any], planned: Planned | None) -> bool:
    """Whether an occurrence went over to another event, and takes place there when it did."""
    if planned is None or _of_event(payload, planned.event):
        return False
    return planned.occurrence is None or _of_changed(payload, planned.occurrence) is None


def _of_changed(payload: Mapping[str, Any], occurrence: OccurrenceState) -> str | None:
    moved = Refusal.OCCURRENCE_MOVED if occurrence.start != payload["start"] else None
    return _OF_OCCURRENCE.get(occurrence.status, moved)


def _has_slot(event: EventState, text: str) -> bool:
    if text in event.added:
        return True
    (start, all_day), (local, of_days) = parse_slot(event.start), parse_slot(text)
    rule = _ONCE if event.rule is None else from_document(event.rule)
    if event.time_zone is None:
        rule = rule._replace(until_time=None)  # the calendar knows better where the user is
    series = Series(start, event.time_zone or "UTC", rule, all_day)
    return of_days == all_day and find(series, local) is not None
