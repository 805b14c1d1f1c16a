"""What completions, skips and undos make of a schedule."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from mesh.recurrence.completion import Timing, next_slot, timing
from mesh.recurrence.document import from_document
from mesh.recurrence.rule import RepeatFrom
from mesh.recurrence.series import Series, Slot, after, find, parse_slot, slot_text
from mesh.recurrence.zones import to_instant, to_wall
from mesh.rpc.etag import next_version
from services.recurrence import errors
from services.recurrence.model import Completion, OpenTask, Outcome, Plan, PlanKind, Schedule, TaskState

MOST_CHANGES = 100
"""Cancelled and moved slots of one schedule, each kind."""


def series_of(schedule: Schedule) -> Series:
    """The series of a schedule."""
    start, all_day = parse_slot(schedule.start_slot)
    cancelled = tuple(parse_slot(slot)[0] for slot in schedule.cancelled)
    return Series(start, schedule.time_zone, from_document(schedule.rule), all_day, cancelled=cancelled)


def begin(state: TaskState) -> Schedule:
    """The schedule of a series whose first instance an event shows."""
    task, rule = state.task, state.rule or {}
    slot, zone = task.slot or "", task.time_zone or ""
    return Schedule(
        id=task.series_id or "",
        user_id=task.user_id,
        parent_task_id=task.id,
        frequency=rule["frequency"],
        next_due_date=_due(task),
        is_active=True,
        created_at=state.at,
        updated_at=state.at,
        rule=rule,
        time_zone=zone,
        repeat_from=state.repeat_from,
        start_slot=slot,
        next_slot=slot,
        made=1,
        cancelled=[],
        moved={},
        successor=None,
        version=1,
    )


def opened(schedule: Schedule, task: OpenTask, now: int) -> Schedule:
    """The schedule whose open instance is `task`; `schedule` itself when it knew."""
    changed = schedule._replace(is_active=True, next_slot=task.slot or "", next_due_date=_due(task))
    return schedule if changed == schedule else next_version(changed, now)


def closed(schedule: Schedule, now: int) -> Schedule:
    """The schedule without further occurrences, until an instance is open again."""
    return next_version(schedule, now, is_active=False) if schedule.is_active else schedule


def complete(
    schedule: Schedule, task: OpenTask, other: OpenTask | None, at: int, now: int, cause: str, furthest: str = ""
) -> Outcome:
    """An instance was completed: the log has it, and the next one is planned, unless another is open.

    at: when it was completed. cause: a UUID that identifies the change. furthest: the last slot of the log that counts,
    behind which the next one is.
    """
    series = series_of(schedule)
    punctual = timing(series, parse_slot(task.slot or "")[0], at)
    return _advance(schedule, task, other, _entry(schedule, task, at, punctual, cause), now, furthest)


def skip(
    schedule: Schedule,
    task: OpenTask | None,
    slot: str | None,
    now: int,
    cause: str,
    furthest: str = "",
    other: OpenTask | None = None,
) -> Outcome:
    """An occurrence is skipped: the open one, or one ahead. furthest, other: as in `complete`.

    Raises ScheduleInactive, ScheduleBusy, SlotNotFound, OccurrenceBegun, TooManyChanges.
    """
    if task is None:
        raise (
            errors.ScheduleBusy(schedule.id) if schedule.is_active else errors.ScheduleInactive(schedule_id=schedule.id)
        )
    if slot is not None and slot != task.slot:
        local = ahead(schedule, slot)
        if len(schedule.cancelled) >= MOST_CHANGES:
            raise errors.TooManyChanges(limit=MOST_CHANGES)
        entry = _entry(schedule, None, now, Timing.SKIPPED, cause, slot)
        text = slot_text(local, all_day=parse_slot(slot)[1])
        return Outcome(next_version(schedule, now, cancelled=sorted([*schedule.cancelled, text])), (), entry)
    if task.is_begun:
        raise errors.OccurrenceBegun(task_id=task.id)
    outcome = _advance(schedule, task, other, _entry(schedule, task, now, Timing.SKIPPED, cause), now, furthest)
    withdrawn = plan(schedule, PlanKind.WITHDRAW, task.slot or "", None, {}, cause)
    return outcome._replace(plans=[*outcome.plans, withdrawn])


def stays_after(completion: Completion, tasks: Iterable[OpenTask], entries: Iterable[Completion]) -> bool:
    """Whether the instance that followed a completion is begun or over, so that it stays when that is undone.

    tasks: that are open, at least those of the series. entries: of the log that count, at least that of the next slot.
    """
    key = (completion.series_id, completion.next_slot)
    return any(each.is_begun and (each.series_id, each.slot) == key for each in tasks) or any(
        each.undone_at is None and (each.series_id, each.slot) == key for each in entries
    )


def undo(
    schedule: Schedule, completion: Completion, now: int, cause: str, *, reopens: bool, stays: bool = False
) -> Outcome:
    """A completion does not count any more; what followed from it is withdrawn.

    reopens: whether todo still has to make the task pending. stays: as `stays_after` says. Raises
    CompletionAlreadyUndone.
    """
    if completion.undone_at is not None:
        raise errors.CompletionAlreadyUndone(completion_id=completion.id)
    undone = completion._replace(undone_at=max(now, completion.completed_at))
    if completion.task_id is None:
        # By its date, which edits of the time of day keep: a series has one slot on a date.
        cancelled = [slot for slot in schedule.cancelled if slot[:10] != completion.slot[:10]]
        return Outcome(next_version(schedule, now, cancelled=cancelled), (), undone)
    plans = []
    if completion.timing == Timing.SKIPPED:
        due = {"due_time": _due_of(schedule, completion.slot)}
        plans.append(plan(schedule, PlanKind.PUT, completion.slot, completion.task_id, due, cause))
    elif reopens:
        plans.append(plan(schedule, PlanKind.REOPEN, completion.slot, completion.task_id, {}, cause))
    changed, successor = schedule, schedule.successor
    if completion.next_slot is not None:
        changed = changed._replace(made=schedule.made - (not stays))
        withdrawn = plan(schedule, PlanKind.WITHDRAW, completion.next_slot, None, {}, cause)
        if successor and successor.get("slot") == completion.next_slot:
            changed = changed._replace(successor={**successor, "is_begun": False})
            withdrawn = withdrawn._replace(target_id=successor["id"], slot=successor["start"])
        plans.append(withdrawn)
    instant = to_instant(parse_slot(completion.slot)[0], schedule.time_zone)[0]
    changed = changed._replace(is_active=True, next_slot=completion.slot, next_due_date=instant)
    return Outcome(next_version(changed, now), plans, undone)


def upcoming(schedule: Schedule) -> Iterator[Slot]:
    """The slots after the open one; where completions set the pace, as if each were completed on its date."""
    series, local = series_of(schedule), parse_slot(schedule.next_slot)[0]
    if schedule.repeat_from != RepeatFrom.COMPLETION:
        yield from after(series, local)
        return
    for made in count(schedule.made):
        at = to_instant(local, schedule.time_zone)[0]
        following = next_slot(series, local, at, RepeatFrom.COMPLETION, made)
        if following is None:
            return
        yield following
        local = following.local


def ahead(schedule: Schedule, slot: str) -> datetime:
    """The local time of a slot after the open one; raises SlotNotFound."""
    try:
        local, all_day = parse_slot(slot)
    except ValueError:
        raise errors.SlotNotFound(slot=slot) from None
    series, (current, _) = series_of(schedule), parse_slot(schedule.next_slot)
    paced = schedule.repeat_from == RepeatFrom.COMPLETION
    if paced or all_day != series.all_day or local <= current or find(series, local) is None:
        raise errors.SlotNotFound(slot=slot)
    return local


def plan(
    schedule: Schedule, kind: PlanKind, slot: str, task_id: str | None, changes: Mapping[str, Any], cause: str
) -> Plan:
    """A request to todo; its id is the same for the same cause."""
    made = str(uuid5(UUID(cause), f"{kind} {schedule.id} {slot}"))
    return Plan(made, schedule.user_id, schedule.id, schedule.id, kind, slot, task_id, changes, schedule.id)


def _advance(
    schedule: Schedule, task: OpenTask, other: OpenTask | None, entry: Completion, now: int, furthest: str
) -> Outcome:
    """Plans the instance after one that is over."""
    slot = task.slot or ""
    kept: dict[str, Any] = {
        "cancelled": [each for each in schedule.cancelled if each >= slot],
        "moved": {each: due for each, due in schedule.moved.items() if each >= slot},
    }
    if other is not None:
        kept |= {"next_slot": other.slot or "", "next_due_date": _due(other)}
        return Outcome(next_version(schedule, now, **kept), (), entry)
    text = _next(schedule, max(slot, furthest), entry.completed_at)
    if text is None:
        return _handed_over(schedule._replace(**kept), task, entry, now)
    due = _due_of(schedule, text)
    changed = next_version(
        schedule._replace(**kept),
        now,
        made=schedule.made + 1,
        next_slot=text,
        next_due_date=to_instant(parse_slot(text)[0], schedule.time_zone)[0] if due is None else due,
    )
    put = plan(schedule, PlanKind.PUT, text, task.id, {"due_time": due}, entry.id)
    return Outcome(changed, [put], entry._replace(next_slot=text))


def _next(schedule: Schedule, slot: str, at: int) -> str | None:
    """The slot after one that is over; a moved one is ahead while its own due time is."""
    series, (local, all_day), repeat = series_of(schedule), parse_slot(slot), RepeatFrom(schedule.repeat_from)
    end_of_date = datetime.combine(local.date(), time.max)  # edits may have moved its time of day since
    following = next_slot(series, end_of_date, at, repeat, schedule.made)
    found = [] if following is None else [slot_text(following.local, all_day=all_day)]
    if repeat is RepeatFrom.DUE_NEXT_FUTURE:
        gone = set(schedule.cancelled)
        found += [
            each for each, due in schedule.moved.items() if each[:10] > slot[:10] and due > at and each not in gone
        ]
    return min(found, default=None)


def _handed_over(schedule: Schedule, task: OpenTask, entry: Completion, now: int) -> Outcome:
    """The last slot is over: another schedule goes on, or nothing does."""
    successor = schedule.waiting
    if successor is None:
        return Outcome(next_version(schedule, now, is_active=False), (), entry)
    put = plan(schedule, PlanKind.PUT, successor["start"], task.id, successor["changes"], entry.id)
    changed = next_version(
        schedule, now, is_active=False, made=schedule.made + 1, successor={**successor, "is_begun": True}
    )
    begins = put._replace(target_id=successor["id"])
    return Outcome(changed, [begins], entry._replace(next_slot=successor["slot"]))


def _entry(
    schedule: Schedule, task: OpenTask | None, at: int, punctual: Timing, cause: str, slot: str | None = None
) -> Completion:
    return Completion(
        id=str(uuid5(UUID(cause), "completion")),
        user_id=schedule.user_id,
        series_id=schedule.id,
        task_id=None if task is None else task.id,
        slot=slot or (task.slot if task else None) or "",
        completed_at=at,
        local_date=to_wall(at, schedule.time_zone).date().isoformat(),
        timing=punctual.value,
        next_slot=None,
        undone_at=None,
    )


def _due(task: OpenTask) -> int:
    """When an instance is due; one that is never due at the beginning of its date."""
    if task.due_date is not None:
        return task.due_date
    return to_instant(parse_slot(task.slot or "")[0], task.time_zone or "")[0]


def _due_of(schedule: Schedule, slot: str) -> int | None:
    """The due time of an instance to be made; None for never."""
    local, all_day = parse_slot(slot)
    if slot in schedule.moved:
        return schedule.moved[slot]
    return None if all_day else to_instant(local, schedule.time_zone)[0]
