"""Edits of a series: one occurrence, those from one on, or all."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from mesh.recurrence import scopes
from mesh.recurrence.document import to_document
from mesh.recurrence.rule import RepeatFrom, Rule
from mesh.recurrence.scopes import Edit, Split
from mesh.recurrence.series import Series, after, find, parse_slot, slot_text
from mesh.recurrence.zones import to_instant
from mesh.rpc.etag import next_version
from services.recurrence import errors
from services.recurrence.model import OpenTask, Outcome, PlanKind, Schedule
from services.recurrence.rules.schedules import MOST_CHANGES, ahead, plan, series_of


class Change(NamedTuple):
    """What a request changes of a series; None keeps."""

    start: str | None
    rule: Rule | None
    time_zone: str | None
    repeat_from: RepeatFrom | None
    values: Mapping[str, Any]
    """Of its tasks, by the names of `InstanceChanges`."""
    force: bool


def this(schedule: Schedule, task: OpenTask, slot: str, due: int | None, now: int, cause: str) -> Outcome:
    """One occurrence is due at another time; None: at its slot again. Raises SlotNotFound, TooManyChanges."""
    if slot == task.slot:
        local, all_day = parse_slot(slot)
        instant = due if due is not None or all_day else to_instant(local, schedule.time_zone)[0]
        revised = plan(schedule, PlanKind.REVISE, slot, task.id, {"due_time": instant}, cause)
        return Outcome(next_version(schedule, now), [revised])
    ahead(schedule, slot)
    moved = {each: instant for each, instant in schedule.moved.items() if each != slot}
    if due is not None:
        moved[slot] = due
    if len(moved) > MOST_CHANGES:
        raise errors.TooManyChanges(limit=MOST_CHANGES)
    return Outcome(next_version(schedule, now, moved=moved))


def all_of(schedule: Schedule, task: OpenTask, change: Change, now: int, cause: str) -> Outcome:
    """The whole series; its open instance comes to the slot of its date, or to the next. Raises as `following`."""
    series = series_of(schedule)
    result = _split(schedule, task, series.start, change)
    changed = _with(schedule, result, change)._replace(start_slot=_text(result.new, result.new.start))
    slot = _slot_of_open(result.new, changed.repeat_from, parse_slot(task.slot or "")[0])
    return _revised(schedule, changed, task, slot, change, cause, now)


def following(
    schedule: Schedule, task: OpenTask, slot: str, change: Change, now: int, cause: str, new_id: str
) -> Outcome:
    """The series ends before a slot, and a linked one begins there.

    Raises SlotNotFound, OverridesLost, and RuleError for a rule that does not produce its start.
    """
    is_open = slot == task.slot
    local = parse_slot(slot)[0] if is_open else ahead(schedule, slot)
    result = _split(schedule, task, local, change)
    start = _text(result.new, result.new.start)
    new = _with(schedule, result, change)._replace(
        id=new_id,
        parent_task_id=task.id,
        start_slot=start,
        next_slot=start,
        next_due_date=to_instant(result.new.start, result.new.time_zone)[0],
        made=1,
        created_at=now,
        updated_at=now,
        version=1,
    )
    old = schedule if result.old is None else schedule._replace(rule=to_document(result.old.rule))
    old = old._replace(
        cancelled=[each for each in old.cancelled if each < slot],
        moved={each: due for each, due in old.moved.items() if each < slot},
    )
    if is_open:
        old = next_version(old, now, is_active=False, successor={"id": new_id})
        outcome = _revised(schedule, new, task, start, change, cause, now)
        return Outcome(old, outcome.plans, new=new)
    values = {**change.values, **_rule_changes(new), "due_time": _due_at(result.new, new, start)}
    begins = {"id": new_id, "slot": slot, "start": start, "changes": values, "is_begun": False}
    return Outcome(next_version(old, now, successor=begins), new=new)


def revised(task: OpenTask, outcome: Outcome) -> OpenTask:
    """The open instance as todo will have it: what is completed before todo has heard of the edit counts as that."""
    for plan_ in outcome.plans:
        if plan_.kind == PlanKind.REVISE and plan_.task_id == task.id:
            due = plan_.changes.get("due_time", task.due_date)
            zone = plan_.changes.get("time_zone", task.time_zone)
            return task._replace(series_id=plan_.target_id, slot=plan_.slot, due_date=due, time_zone=zone)
    return task


def _split(schedule: Schedule, task: OpenTask, pivot: datetime, change: Change) -> Split:
    """The series before and from a slot on; raises OverridesLost."""
    series = series_of(schedule)
    start = None if change.start is None else parse_slot(change.start)[0]
    edit = Edit(start, _until_successor(schedule, change.rule or series.rule), change.time_zone)
    if schedule.repeat_from == RepeatFrom.COMPLETION or change.repeat_from is RepeatFrom.COMPLETION:
        return _paced(schedule, series, task, pivot, edit)
    overridden = [*map(_local, schedule.moved), *([_local(task.slot or "")] if _is_moved(schedule, task) else [])]
    result = scopes.split(series, pivot, edit, overridden)
    if result.lost and not change.force:
        raise errors.OverridesLost(slots=",".join(_text(series, local) for local in result.lost))
    return result


def _until_successor(schedule: Schedule, rule: Rule) -> Rule:
    """The rule; one whose schedule is to be followed by another ends before that, wherever edits move its slots."""
    if schedule.waiting is None:
        return rule
    return rule.endless()._replace(until_date=_local(schedule.waiting["slot"]).date() - timedelta(days=1))


def _paced(schedule: Schedule, series: Series, task: OpenTask, pivot: datetime, edit: Edit) -> Split:
    """The same where completions set the pace: only the open slot is known, and COUNT counts instances."""
    rule = series.rule if edit.rule is None else edit.rule
    is_open = pivot == parse_slot(task.slot or "")[0]
    if is_open and rule.times is not None and rule.times == series.rule.times:
        rule = rule._replace(times=max(1, rule.times - schedule.made + 1))
    new = series._replace(
        start=edit.start or pivot, time_zone=edit.time_zone or series.time_zone, rule=rule, cancelled=()
    )
    return Split(old=series, new=new, moved=(), lost=())


def _with(schedule: Schedule, result: Split, change: Change) -> Schedule:
    """The schedule with the new rule and what moved along."""
    new, moved = result.new, dict(result.moved)
    return schedule._replace(
        rule=to_document(new.rule),
        frequency=new.rule.frequency.value,
        time_zone=new.time_zone,
        repeat_from=(change.repeat_from or RepeatFrom(schedule.repeat_from)).value,
        cancelled=sorted(_text(new, local) for local in new.cancelled),
        moved={_text(new, moved[_local(slot)]): due for slot, due in schedule.moved.items() if _local(slot) in moved},
    )


def _revised(
    before: Schedule, changed: Schedule, task: OpenTask, slot: str, change: Change, cause: str, now: int
) -> Outcome:
    """The open instance comes to a slot of the changed schedule; one that was moved keeps its due time."""
    values = {**change.values, **_rule_changes(changed)}
    series = series_of(changed)
    due = task.due_date
    if not _is_moved(before, task) or (slot != task.slot and change.force):
        due = _due_at(series, changed, slot)
        values["due_time"] = due
    changed = changed._replace(next_slot=slot, next_due_date=due or to_instant(_local(slot), changed.time_zone)[0])
    changed = next_version(changed, now) if changed.id == before.id else changed
    revised = plan(before, PlanKind.REVISE, slot, task.id, values, cause)
    return Outcome(changed, [revised._replace(series_id=changed.id, target_id=changed.id)])


def _slot_of_open(series: Series, repeat_from: str, local: datetime) -> str:
    """The slot of the open instance's date in the changed series, or the next one. Raises SlotNotFound.

    Where completions set the pace its date stays: it does not follow from the start of the series.
    """
    same = datetime.combine(local.date(), series.start.time())
    if repeat_from == RepeatFrom.COMPLETION:
        return _text(series, same)
    found = find(series, same) or next(after(series, same), None)
    if found is None:
        raise errors.SlotNotFound(slot=_text(series, same))
    return _text(series, found.local)


def _is_moved(schedule: Schedule, task: OpenTask) -> bool:
    """Whether the open instance is due at another time than its slot."""
    local, all_day = parse_slot(task.slot or "")
    return not all_day and task.due_date is not None and task.due_date != to_instant(local, schedule.time_zone)[0]


def _due_at(series: Series, schedule: Schedule, slot: str) -> int | None:
    if slot in schedule.moved:
        return schedule.moved[slot]
    return None if series.all_day else to_instant(_local(slot), series.time_zone)[0]


def _rule_changes(schedule: Schedule) -> dict[str, Any]:
    return {"recurrence": schedule.rule, "time_zone": schedule.time_zone, "repeat_from": schedule.repeat_from}


def _text(series: Series, local: datetime) -> str:
    return slot_text(local, all_day=series.all_day)


def _local(slot: str) -> datetime:
    return parse_slot(slot)[0]
