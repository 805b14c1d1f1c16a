"""What completing an occurrence makes of a series: how punctual it was, and which slot is next."""

from datetime import datetime
from enum import StrEnum

from mesh.recurrence.rule import RepeatFrom, Rule
from mesh.recurrence.series import Series, Slot, after, date_before, is_over, slots
from mesh.recurrence.zones import to_wall


class Timing(StrEnum):
    """When a slot was completed, against its local day in the series' zone."""

    EARLY = "early"
    ON_TIME = "on_time"
    LATE = "late"
    SKIPPED = "skipped"


def timing(series: Series, slot: datetime, completed_at: int) -> Timing:
    """How punctual the completion of a slot was."""
    day, done = slot.date(), to_wall(completed_at, series.time_zone).date()
    return Timing.EARLY if done < day else Timing.LATE if done > day else Timing.ON_TIME


def next_slot(series: Series, completed: datetime, completed_at: int, repeat: RepeatFrom, made: int) -> Slot | None:
    """The slot after a completed one, or None when it was the last; a completed slot never comes again.

    made: instances that the series has had, which COUNT counts when completions set the pace.
    """
    match repeat:
        case RepeatFrom.DUE_EVERY_MISSED:
            return next(after(series, completed), None)
        case RepeatFrom.DUE_NEXT_FUTURE:
            return _next_ahead(series, completed, completed_at)
        case RepeatFrom.COMPLETION:
            return _from_completion(series, completed, completed_at, made)


def _next_ahead(series: Series, completed: datetime, now: int) -> Slot | None:
    """The next slot still ahead; an all-day slot is ahead until its date is over."""
    if series.all_day:
        today = to_wall(now, series.time_zone).date()
        return next((slot for slot in slots(series, max(completed.date(), today)) if slot.local > completed), None)
    following = slots(series, max(completed.date(), date_before(now, series.time_zone)))
    return next((slot for slot in following if slot.local > completed and slot.instant > now), None)


def _from_completion(series: Series, completed: datetime, completed_at: int, made: int) -> Slot | None:
    """The date of the completion, or of the slot if later, plus the interval; then the first date that fits."""
    rule = series.rule
    if rule.times is not None and made >= rule.times:
        return None
    base = max(completed.date(), to_wall(completed_at, series.time_zone).date())
    start = datetime.combine(base, series.start.time())
    pace = Rule(rule.frequency, interval=rule.interval, month_end=rule.month_end)
    plain = series._replace(start=start, added=(), rule=pace)
    following = next(after(plain, start), None)
    if following is not None and rule.has_parts:
        fitting = plain._replace(start=following.local, rule=rule.endless()._replace(interval=1))
        following = next(slots(fitting), None)
    if following is None or is_over(rule, following):
        return None
    return following
