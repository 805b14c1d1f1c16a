"""Edits of a series from one of its slots on: FOLLOWING, and ALL from its first one."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple

from mesh.recurrence.rule import Frequency, Rule, RuleError
from mesh.recurrence.series import (
    Moved,
    Series,
    Slot,
    check_series,
    find,
    last_before,
    last_slot,
    rule_slots,
    slot_text,
)
from mesh.recurrence.zones import to_instant


class Edit(NamedTuple):
    """What changes; None keeps what the series has."""

    start: datetime | None = None
    """The new local time of the slot that the edit begins with."""
    rule: Rule | None = None
    """With the COUNT of the old rule it goes on counting; with another it counts from the edit on."""
    time_zone: str | None = None


class Split(NamedTuple):
    """The two series that an edit makes of one."""

    old: Series | None
    """What remains before the edit; None when nothing does."""
    new: Series
    moved: tuple[tuple[datetime, datetime], ...]
    """Overridden slots that move along, with their new identity."""
    lost: tuple[datetime, ...]
    """Overridden slots that the new series does not have."""


def split(series: Series, pivot: datetime, edit: Edit, overridden: Iterable[datetime] = ()) -> Split:
    """Ends a series before a slot and begins another there; a slot moves along on its date.

    Raises RuleError: `slot` when the series does not have it, otherwise a part of the new rule.
    """
    first = find(series._replace(cancelled=()), pivot)
    if first is None:
        raise RuleError("slot", f"the series has no slot {slot_text(pivot, all_day=series.all_day)}")
    new = _begin(series, first, edit)

    def follow(local: datetime) -> datetime:
        if local == pivot:
            return new.start
        is_apart = local.time() != series.start.time()  # beside the rule, at a time of day of its own
        return local if is_apart else datetime.combine(local.date(), new.start.time())

    behind = sorted(local for local in overridden if local >= pivot)
    new = new._replace(added=tuple(follow(local) for local in series.added if local > pivot))
    has = {local: find(new, follow(local)) is not None for local in behind}
    cancelled = (follow(local) for local in series.cancelled if local >= pivot)
    new = new._replace(cancelled=tuple(local for local in cancelled if find(new, local) is not None))
    return Split(
        old=end(series, first),
        new=new,
        moved=tuple((local, follow(local)) for local in behind if has[local]),
        lost=tuple(local for local in behind if not has[local]),
    )


def end(series: Series, pivot: Slot) -> Series | None:
    """What remains of a series before a slot; None when its rule has none there."""
    last = last_before(series, pivot.local)
    added = tuple(local for local in series.added if local < pivot.local)
    if last is None:
        return None
    rule = series.rule.endless()
    if series.rule.times is not None:
        rule = rule._replace(times=len(_counted(series, pivot.local)))
    elif series.all_day or last.instant == pivot.instant:  # two slots share an instant where a zone jumps over a date
        rule = rule._replace(until_date=last.local.date())
    else:
        rule = rule._replace(until_time=last.instant)
    cancelled = tuple(local for local in series.cancelled if local < pivot.local)
    return series._replace(rule=rule, added=added, cancelled=cancelled)


def _begin(series: Series, pivot: Slot, edit: Edit) -> Series:
    """The new series, without added and cancelled slots."""
    start, time_zone = edit.start or pivot.local, edit.time_zone or series.time_zone
    rule = series.rule if edit.rule is None else edit.rule
    if rule.times is not None and rule.times == series.rule.times:
        rule = rule._replace(times=rule.times - len(_counted(series, pivot.local)))
    if rule.endless() == series.rule.endless() and Moved.CLAMP in pivot.moved and start.date() == pivot.local.date():
        rule = _anchored(rule, series.start.date())
    if edit.rule is None and (start != pivot.local or time_zone != series.time_zone):
        rule = _ending_later(series, rule, start - pivot.local, time_zone)
    new = Series(start, time_zone, rule, series.all_day)
    check_series(new)
    return new


def _anchored(rule: Rule, day: date) -> Rule:
    """The rule with the days that it has taken from its start, which is on a clamped slot from now on."""
    if rule.by_month_day:
        return rule
    months = rule.by_month or ((day.month,) if rule.frequency is Frequency.YEARLY else ())
    return rule._replace(by_month_day=(day.day,), by_month=months)


def _ending_later(series: Series, rule: Rule, by: timedelta, time_zone: str) -> Rule:
    """The rule with an end that moves along with the last slot: none is lost, and none gained."""
    last = last_slot(series)
    if last is None or rule.times is not None or last.local.toordinal() + by.days >= date.max.toordinal():
        return rule
    moved = last.local + by
    if rule.until_time is not None:
        return rule._replace(until_time=to_instant(moved, time_zone)[0])
    return rule._replace(until_date=moved.date())


def _counted(series: Series, before: datetime) -> list[Slot]:
    """The slots of a rule with COUNT before one."""
    found: list[Slot] = []
    for slot in rule_slots(series, series.start.date()):
        if slot.local >= before:
            break
        found.append(slot)
    return found
