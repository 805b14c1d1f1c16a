"""Edits of an event: one occurrence, those from one on, or all; and what is deleted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from mesh.recurrence import scopes
from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Rule, RuleError
from mesh.recurrence.scopes import Edit, Split
from mesh.recurrence.series import Series, Slot, find, last_before, last_slot, parse_slot, slot_text
from mesh.recurrence.zones import to_wall_within
from mesh.runtime.clock import DAY
from services.calendar.errors import OccurrenceNotFound, OverridesLost
from services.calendar.model import CalendarEvent, Occurrence, OccurrenceRow, Status, occurrence_id
from services.calendar.rules.changes import is_override
from services.calendar.rules.occurrences import row_of
from services.calendar.rules.series import ONCE, occurrence, series_of

UNDELETE_DAYS = 30
_DAY_SECONDS = 86_400

Rows = Mapping[str, OccurrenceRow]
Values = Mapping[str, Any]
"""What an edit changes, by the names of CalendarEvent, but `length` (a Length) and `rule` (a Rule); None clears."""


class Edited(NamedTuple):
    """What an edit makes of an event."""

    event: CalendarEvent
    rows: Rows
    new: tuple[CalendarEvent, Rows] | None = None
    """The event of the changed occurrences, when the edit splits it off."""


def this(event: CalendarEvent, rows: Rows, slot: str, values: Values, zone: str) -> OccurrenceRow:
    """The row of one occurrence after an edit. zone: of the user. Raises OccurrenceNotFound."""
    row = row_of(require(event, rows, slot, zone))
    own = {name: values[name] for name in ("title", "description", "location") if name in values}
    if "start_slot" in values:
        own["start_slot"] = values["start_slot"] if values["start_slot"] != slot else None
    if "length" in values:
        days, seconds = values["length"] or (None, None)
        own |= {"length_days": days, "length_seconds": seconds}
    return row._replace(**own)


def cancelled(event: CalendarEvent, rows: Rows, slot: str, zone: str) -> OccurrenceRow:
    """The row of one occurrence that does not take place. Raises OccurrenceNotFound."""
    row = row_of(require(event, rows, slot, zone))
    return row._replace(status=Status.CANCELLED.value, completed_at=None, is_completed_by_session=False)


def require(event: CalendarEvent, rows: Rows, slot: str, zone: str) -> Occurrence:
    """The occurrence of a slot, also a cancelled one; raises OccurrenceNotFound."""
    found = occurrence(event, slot, rows.get(slot), zone)
    if found is None:
        raise OccurrenceNotFound(occurrence_id=occurrence_id(event.id, slot))
    return found


def all_of(event: CalendarEvent, rows: Rows, values: Values, zone: str, *, force: bool) -> Edited:
    """The whole event. zone: of the user.

    Raises OverridesLost, and RuleError for a rule that does not produce its start.
    """
    if not values.keys() & {"start_slot", "rule", "time_zone"}:
        return Edited(_with(event, values), rows)
    pivot = _local(event.start_slot)
    split = _split(event, rows, pivot, values, zone)
    changed = _begun(event, split, values)
    return Edited(changed, _moved_along(event, changed, rows, split, zone, force=force))


def following(
    event: CalendarEvent, rows: Rows, slot: str, values: Values, zone: str, *, force: bool, new_id: str, now: int
) -> Edited:
    """The event ends before a slot, and another begins there; at the first slot all of it is edited.

    Raises OccurrenceNotFound, and as `all_of`; RuleError for a slot beside the rule: it would become the start of the
    rule, and all that follow would lie elsewhere.
    """
    pivot = _pivot(event, rows, slot, zone)
    old = before(event, pivot, zone)
    if old is None:
        return all_of(event, rows, values, zone, force=force)
    if find(series_of(event, zone)._replace(added=()), pivot) is None:
        raise RuleError("slot", "lies beside the rule: change it alone, or from a slot of the rule on")
    split = _split(event, rows, pivot, values, zone)
    begun = _begun(event, split, values)
    new = begun._replace(
        id=new_id, created_at=now, updated_at=now, uid=_uid(event, slot), sequence=0, stamped_at=None, version=1
    )
    behind = {each: row for each, row in rows.items() if _local(each) >= pivot}
    along = _moved_along(event, new, behind, split, zone, force=force)
    return Edited(old, {each: row for each, row in rows.items() if each not in behind}, (new, along))


def ended(event: CalendarEvent, rows: Rows, slot: str, zone: str) -> Edited | None:
    """The event without its occurrences from a slot on; None when nothing is left. Raises OccurrenceNotFound."""
    pivot = _pivot(event, rows, slot, zone)
    old = before(event, pivot, zone)
    return None if old is None else Edited(old, {each: row for each, row in rows.items() if _local(each) < pivot})


def deleted(event: CalendarEvent, now: int) -> CalendarEvent:
    """The event without any occurrence, for as long as it can be undeleted."""
    return event._replace(deleted_at=now, purge_at=now + UNDELETE_DAYS * DAY)


def before(event: CalendarEvent, pivot: datetime, zone: str) -> CalendarEvent | None:
    """What an event has before one of its slots; None when that is its first."""
    series = series_of(event, zone)
    first = find(series, pivot)
    old = None if first is None else scopes.end(series, first)
    if old is not None:
        rule = None if event.rule is None else to_document(_ended(event, series, old.rule, pivot))
        return event._replace(rule=rule, added=[_text(series, local) for local in old.added])
    if left := sorted(_text(series, local) for local in series.added if local < pivot):
        return event._replace(start_slot=left[0], rule=None, added=left[1:])
    return None


def _uid(event: CalendarEvent, slot: str) -> str:
    """Of what is split off at a slot, as an import has it: a newer file with the event is for all of that."""
    uid = event.uid or event.id
    root, _, last = uid.rpartition("#")
    try:
        parse_slot(last)
    except ValueError:
        root = uid
    return f"{root}#{slot}"


def _ended(event: CalendarEvent, series: Series, rule: Rule, pivot: datetime) -> Rule:
    """The rule that ends before a slot."""
    return rule if event.time_zone is not None else _floating(rule, last_before(series, pivot))


def _floating(rule: Rule, last: Slot | None) -> Rule:
    """The rule of an event that floats: it ends on the date of its last slot, because instants move with its user."""
    if rule.until_time is None or last is None:
        return rule
    return rule._replace(until_time=None, until_date=last.local.date())


def _pivot(event: CalendarEvent, rows: Rows, slot: str, zone: str) -> datetime:
    require(event, rows, slot, zone)
    return _local(slot)


def _split(event: CalendarEvent, rows: Rows, pivot: datetime, values: Values, zone: str) -> Split:
    """The series from a slot on. Its rows are told apart later; only which slots move along counts."""
    series = series_of(event, zone)
    start = parse_slot(values["start_slot"]) if "start_slot" in values else None
    rule = (values["rule"] or ONCE) if "rule" in values else None
    if start is not None and start[1] != series.all_day:
        series = series._replace(all_day=start[1])
    if "rule" in values and values["rule"] is None:
        series = series._replace(added=())
    time_zone = (values["time_zone"] or zone) if "time_zone" in values else None
    edit = Edit(None if start is None else start[0], rule, time_zone)
    slots = [local for local in map(_local, rows) if local >= pivot]
    return scopes.split(series, pivot, edit, slots)


def _begun(event: CalendarEvent, split: Split, values: Values) -> CalendarEvent:
    """The event with the series that an edit begins."""
    new = split.new
    rule = None if new.rule == ONCE and (event.rule is None or "rule" in values) else to_document(new.rule)
    if "rule" not in values and values.get("time_zone", "") is None and rule is not None:
        rule = to_document(_floating(new.rule, last_slot(new)))
    changed = event._replace(
        start_slot=_text(new, new.start), rule=rule, added=sorted({_text(new, local) for local in new.added})
    )
    return _with(changed, values)


def _with(event: CalendarEvent, values: Values) -> CalendarEvent:
    """The event with the values that are columns of their own."""
    own = {name: value for name, value in values.items() if name not in ("start_slot", "rule", "length")}
    if "length" in values:
        own |= {"length_days": values["length"].days, "length_seconds": values["length"].seconds}
    return event._replace(**own)


def _moved_along(
    event: CalendarEvent, changed: CalendarEvent, rows: Rows, split: Split, zone: str, *, force: bool
) -> dict[str, OccurrenceRow]:
    """The rows with the identity that their slots have now; raises OverridesLost. One that moved keeps its time."""
    targets = dict(split.moved)
    lost = [
        row.slot
        for row in rows.values()
        if is_override(row) and row.status != Status.CANCELLED and _local(row.slot) not in targets
    ]
    if lost and not force:
        raise OverridesLost(slots=",".join(sorted(lost)))
    along = {}
    for row in rows.values():
        if (local := targets.get(_local(row.slot))) is not None:
            target = _rekeyed(event, changed, row, zone)._replace(event_id=changed.id, slot=_text(split.new, local))
            along[target.slot] = target
    return along


def _rekeyed(event: CalendarEvent, changed: CalendarEvent, row: OccurrenceRow, zone: str) -> OccurrenceRow:
    """A row on the clock of the changed event: the instant to which it was moved stays, or its date."""
    if row.length_days is not None and changed.is_all_day and not event.is_all_day:
        seconds = row.length_days * _DAY_SECONDS + (row.length_seconds or 0)
        row = row._replace(length_days=max(1, -(-seconds // _DAY_SECONDS)), length_seconds=0)
    if row.start_slot is None or row.start_time is None:
        return row
    if changed.is_all_day != event.is_all_day:
        date = row.start_slot[:10]
        return row._replace(start_slot=date if changed.is_all_day else f"{date}T{changed.start_slot[11:]}")
    if changed.time_zone == event.time_zone:
        return row
    wall = to_wall_within(row.start_time, changed.time_zone or zone)
    return row._replace(start_slot=slot_text(wall, all_day=changed.is_all_day))


def _local(slot: str) -> datetime:
    """Of a slot that is known to be one."""
    return datetime.fromisoformat(slot)


def _text(series: Series, local: datetime) -> str:
    return slot_text(local, all_day=series.all_day)
