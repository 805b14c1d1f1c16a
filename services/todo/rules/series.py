"""Recurring tasks: the rule that a request states, the slot that an instance has, and what the next one takes from it.

Pure. An instance is identified by its series and slot; its own due time, title and so on may differ from the series'.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from mesh.recurrence.document import from_document, to_document
from mesh.recurrence.offsets import parse_offset
from mesh.recurrence.rule import Frequency, RepeatFrom, Rule, RuleError
from mesh.recurrence.series import Series, Slot, first_slot, parse_slot, slot_text
from mesh.recurrence.zones import TIME_ZONES, midnight, to_instant, to_wall
from mesh.rpc.etag import next_version
from mesh.runtime.clock import SECOND, to_json
from mesh.runtime.errors import FieldViolation, InvalidRequest
from services.todo import errors
from services.todo.model import State, Task

MOST_SERIES = 1_000
"""Of one user: each is a row of the scheduler with at most eleven waiting reminders, ten times what people have."""
FORMS = ("is_recurring", "recurrence_schedule", "recurrence", "time_zone", "repeat_from")
"""The fields that say how a task recurs; the first two are the simple form of the third."""
_RULE = ("recurrence", "time_zone", "repeat_from")
_OF_SERIES = ("title", "description", "reminder_time", "estimated_pomodoros", "reminder_offsets")
"""What an instance takes from its series."""
_LAST_INSTANT = 253_402_300_799 * SECOND
"""The last second of the year 9999, as the contract bounds instants."""


class ZoneMissing(Exception):  # noqa: N818 (not an error: the caller asks where the user is, and decides again)
    """A recurring task names no time zone."""


def check_offsets(offsets: Sequence[str] | None) -> None:
    """Raises ReminderOffsetInvalid."""
    for index, offset in enumerate(offsets or ()):
        try:
            parse_offset(offset)
        except ValueError as error:
            raise errors.ReminderOffsetInvalid(index, offset, str(error)) from None


def with_rule(before: Task, task: Task, stated: Mapping[str, Any], zone: str | None) -> Task:
    """The task, its simple and its full form alike; one that does not recur has no rule, zone or series.

    stated: what the request says of FORMS. Raises RecurrenceIncomplete, RecurrenceContradiction, TimeZoneUnknown, and
    ZoneMissing when the task names no zone and `zone`, of its user, is None.
    """
    rule = _full(stated) if "recurrence" in stated else _of_simple_form(before, task)
    if rule is None:
        for field in ("time_zone", "repeat_from"):
            if stated.get(field) is not None:
                raise errors.RecurrenceContradiction(field)
        none: dict[str, Any] = dict.fromkeys((*FORMS, "series_id", "slot", "series_values"))
        return task._replace(**none | {"is_recurring": False})
    time_zone = task.time_zone or zone
    if time_zone is None:
        raise ZoneMissing
    if time_zone not in TIME_ZONES:
        raise errors.TimeZoneUnknown(time_zone)
    repeat = task.repeat_from or RepeatFrom.DUE_NEXT_FUTURE.value
    return _with(task, {"recurrence": rule, "time_zone": time_zone, "repeat_from": repeat})


def same_rule(one: Task, other: Task) -> bool:
    """Whether two tasks recur alike, or neither does."""
    return all(getattr(one, name) == getattr(other, name) for name in _RULE)


def begin(task: Task, series_id: str, now: int, slot: str | None = None) -> Task:
    """The task as the first instance of a series.

    Its slot is `slot`, its due time on the wall clock, or without both the first date of the rule from today on. Raises
    DueTimeNotInRecurrence when the rule does not produce it, and InvalidRequest when rule or zone have no such date.
    """
    zone = task.time_zone or ""
    if slot is not None:
        start, all_day = parse_slot(slot)
    elif task.due_date is not None:
        start, all_day = _wall(task.due_date, zone), False
    else:
        start, all_day = midnight(to_wall(now, zone)), True
    first = _first(Series(start, zone, from_document(task.recurrence or {}), all_day))
    if first.local != start and not all_day:
        raise errors.DueTimeNotInRecurrence(
            slot=slot_text(start, all_day=False),
            next_slot=slot_text(first.local, all_day=False),
            next_due_time=to_json(first.instant),
        )
    return task._replace(series_id=series_id, slot=slot_text(first.local, all_day=all_day))


def split(task: Task, changed: Task, changes: Mapping[str, Any], series_id: str, now: int) -> Task:
    """The changed task as the first instance of a series of its own, or of none when it recurs no more.

    Raises RecurrenceCountMissing when the series had a COUNT, of which it is not the first, and the change states none.
    """
    if changed.recurrence is None:
        return changed
    counted = changed.recurrence["count"] is not None and task.series_id not in (None, task.id)
    if counted and "recurrence" not in changes:
        raise errors.RecurrenceCountMissing(task.id)
    kept = task.slot if task.time_zone == changed.time_zone and task.due_date == changed.due_date else None
    values = {name: value for name, value in (task.series_values or {}).items() if name not in changes}
    return begin(changed._replace(series_values=values or None), series_id, now, kept or _date_of(task, changed))


def of_this_alone(task: Task, changed: Task) -> Task:
    """The changed instance, with what its series has in place of the changes: the next instance takes that."""
    if task.series_id is None:
        return changed
    values = dict(task.series_values or {})
    for name in _OF_SERIES:
        old, new = getattr(task, name), getattr(changed, name)
        if old != new and values.setdefault(name, old) == new:
            del values[name]
    return changed._replace(series_values=values or None)


def instance_id(series_id: str, slot: str) -> str:
    """The id of the instance of a slot: the same whoever makes it, and however often."""
    return str(uuid5(UUID(series_id), slot))


def put(source: Task, found: Task | None, slot: str, changes: Mapping[str, Any], now: int) -> Task:
    """The instance of a slot, pending, with what the series of its source has and the changes; it is due as these say.

    found: the same instance, which was withdrawn and gets its next version. Raises ReminderOffsetInvalid and
    TimeZoneUnknown.
    """
    values = {name: getattr(source, name) for name in _OF_SERIES} | dict(source.series_values or {})
    if values["reminder_time"] is not None:
        values["reminder_time"] = _moved(values["reminder_time"], source, slot)
    fresh: dict[str, Any] = dict.fromkeys(("due_date", "completed_at", "deleted_at", "purge_at", "series_values"))
    new = source._replace(
        **fresh,
        **values,
        id=found.id if found else instance_id(source.series_id or "", slot),
        slot=slot,
        status=State.PENDING.value,
        created_at=found.created_at if found else now,
        updated_at=found.updated_at if found else now,
        version=found.version if found else 1,
        focus_seconds=0,
        pomodoros=0,
        is_withdrawn=False,
    )
    new = _checked(_with(new, changes))
    return next_version(new, now) if found else new


def revise(task: Task, series_id: str, slot: str, changes: Mapping[str, Any], now: int) -> Task:
    """The instance with changes that its series keeps, at a slot of a series; `task` itself when nothing changes.

    Raises ReminderOffsetInvalid, TimeZoneUnknown.
    """
    values = {name: value for name, value in (task.series_values or {}).items() if name not in changes}
    changed = _checked(_with(task, changes))._replace(series_id=series_id, slot=slot, series_values=values or None)
    return task if changed == task else next_version(changed, now)


def is_begun(task: Task) -> bool:
    """Whether somebody did something on the instance."""
    return task.status != State.PENDING or task.focus_seconds > 0


def _full(stated: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The rule that a request states; raises RecurrenceContradiction when its simple form says other."""
    rule: Mapping[str, Any] | None = stated["recurrence"]
    expected = {"is_recurring": rule is not None, "recurrence_schedule": rule["frequency"] if rule else None}
    for field, value in expected.items():
        if stated.get(field, value) != value:
            raise errors.RecurrenceContradiction(field)
    return rule


def _of_simple_form(before: Task, task: Task) -> Mapping[str, Any] | None:
    """The rule of the simple form: the one that the task had, while its frequency stays."""
    if task.is_recurring != (task.recurrence_schedule is not None):
        raise errors.RecurrenceIncomplete(task_id=task.id)
    if task.recurrence_schedule == before.recurrence_schedule:
        return before.recurrence
    return to_document(Rule(Frequency(task.recurrence_schedule))) if task.recurrence_schedule else None


def _with(task: Task, changes: Mapping[str, Any]) -> Task:
    """The recurring task with changes, its simple form as its rule says."""
    task = task._replace(**changes)
    frequency = task.recurrence["frequency"] if task.recurrence else None
    return task._replace(is_recurring=frequency is not None, recurrence_schedule=frequency)


def _checked(task: Task) -> Task:
    check_offsets(task.reminder_offsets)
    if task.time_zone not in TIME_ZONES:
        raise errors.TimeZoneUnknown(task.time_zone or "")
    return task


def _first(series: Series) -> Slot:
    try:
        return first_slot(series)
    except RuleError as error:
        raise _invalid(f"recurrence.{error.part}", error.description) from None


def _wall(due: int, zone: str) -> datetime:
    try:
        return to_wall(due, zone)
    except OverflowError:
        raise _invalid("due_time", "is after the year 9999 in its time zone") from None


def _invalid(field: str, description: str) -> InvalidRequest:
    return InvalidRequest(fields=[FieldViolation(field, description)], summary=f"{field}: {description}")


def _date_of(task: Task, changed: Task) -> str | None:
    """The slot of a task without a due time, from which the next date of another rule is sought."""
    is_date = task.slot is not None and parse_slot(task.slot)[1]
    return task.slot if is_date and changed.due_date is None else None


def _moved(reminder: int, source: Task, slot: str) -> int | None:
    """The reminder of an instance, as far from its slot on the wall clock as the source's; None after the year 9999."""
    zone, distance = source.time_zone or "", _local(slot) - _local(source.slot or slot)
    try:
        moved = to_instant(to_wall(reminder, zone) + distance, zone)[0]
    except OverflowError:
        return None
    return moved if 0 <= moved <= _LAST_INSTANT else None


def _local(slot: str) -> datetime:
    return parse_slot(slot)[0]
