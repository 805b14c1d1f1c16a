"""A series: a rule with its local start and zone, and the slots that it has."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from heapq import merge
from typing import NamedTuple

from mesh.recurrence.dates import dates_of
from mesh.recurrence.rule import Rule, RuleError
from mesh.recurrence.zones import to_instant, to_wall_within
from mesh.runtime.clock import DAY

_TWO_DAYS = timedelta(days=2)
"""No instant is farther from the start of its UTC date, also where a zone jumps over a date."""

_LAST_DATE = date(9999, 12, 30)
"""No slot is on a later one."""


class Moved(StrEnum):
    """Why a slot is not where the rule's day and time say."""

    GAP = "gap"
    CLAMP = "clamp"


_MOVED = {
    (False, False): (),
    (False, True): (Moved.GAP,),
    (True, False): (Moved.CLAMP,),
    (True, True): (Moved.CLAMP, Moved.GAP),
}
"""By whether a slot is clamped, and whether it is in a gap."""


class Slot(NamedTuple):
    """One occurrence of a series. `local`, the wall-clock time that the rule says, identifies it within the series."""

    local: datetime
    instant: int
    """Microseconds since the epoch; of an all-day slot the beginning of its date."""
    moved: tuple[Moved, ...] = ()


class Series(NamedTuple):
    """What recurs: naive local start, IANA zone and rule. All-day: only dates count, and times are 00:00.

    `added` are occurrences beside those of the rule (RDATE), `cancelled` those that do not take place (EXDATE).
    """

    start: datetime
    time_zone: str
    rule: Rule
    all_day: bool = False
    added: tuple[datetime, ...] = ()
    cancelled: tuple[datetime, ...] = ()


def slot_text(local: datetime, *, all_day: bool) -> str:
    """The identity of a slot as text: `2026-03-29T02:30:00`, or `2026-03-29` of an all-day series."""
    return local.date().isoformat() if all_day else local.isoformat()


def parse_slot(text: str) -> tuple[datetime, bool]:
    """The local time of a slot's text, and whether it is all-day. Raises ValueError for every other spelling."""
    all_day = len(text) == len("2026-03-29")
    local = datetime.fromisoformat(text)
    if local.tzinfo is not None or slot_text(local, all_day=all_day) != text:
        raise ValueError(text)
    return local, all_day


def slots(series: Series, since: date | None = None) -> Iterator[Slot]:
    """The occurrences on the local date `since` and later, in order; without it all of them.

    Endless when the rule is: take as many as are needed. Cancelled slots are left out.
    """
    first = series.start.date() if since is None else since
    added = sorted({local for local in series.added if local.date() >= first})
    gone = set(series.cancelled)
    previous: datetime | None = None
    by_rule = rule_slots(series, first)
    for slot in merge(by_rule, (_slot(series, local) for local in added), key=_local) if added else by_rule:
        if slot.local != previous and not (gone and slot.local in gone):
            yield slot
        previous = slot.local


def rule_slots(series: Series, since: date) -> Iterator[Slot]:
    """The slots of the rule alone from a local date on, cancelled ones too."""
    rule, at = series.rule, series.start.time()
    ends = rule.until_time is not None or rule.until_date is not None
    for ordinal, clamped in dates_of(rule, series.start.date()).since(since):
        slot = _slot(series, datetime.combine(date.fromordinal(ordinal), at), clamped=clamped)
        if ends and is_over(rule, slot):
            return
        yield slot


def in_window(series: Series, begin: int, end: int) -> Iterator[Slot]:
    """The occurrences whose instant is at `begin` or later and before `end`; microseconds since the epoch."""
    for slot in slots(series, date_before(begin, series.time_zone)):
        if slot.instant >= end + 2 * DAY:  # two slots may be in another order than their instants
            return
        if begin <= slot.instant < end:
            yield slot


def after(series: Series, local: datetime) -> Iterator[Slot]:
    """The occurrences after the slot of a local time, in order."""
    return (slot for slot in slots(series, local.date()) if slot.local > local)


def find(series: Series, local: datetime) -> Slot | None:
    """The slot of a local time, when the series has it; looks at its date only."""
    if local in series.cancelled:
        return None
    found = dates_of(series.rule, series.start.date()).on(local.date()) if local.time() == series.start.time() else None
    if found is not None:
        slot = _slot(series, local, clamped=found.clamped)
        if not is_over(series.rule, slot):
            return slot
    return _slot(series, local) if local in series.added else None


def last_slot(series: Series) -> Slot | None:
    """The last slot of a rule that ends, cancelled ones too; None when it has none, or does not end."""
    rule = series.rule
    if rule.times is not None:
        end = dates_of(rule, series.start.date()).end_of_count()
    elif rule.until_time is not None:
        end = to_wall_within(rule.until_time, series.time_zone).date()
    else:
        end = rule.until_date
    if end is None:
        return None
    return last_before(series, datetime.combine(min(end, _LAST_DATE) + timedelta(days=1), time.min))


def last_before(series: Series, local: datetime) -> Slot | None:
    """The last slot of the rule before a local time, looked for ever farther back."""
    back, last = timedelta(days=8), None
    while last is None:
        since = max(series.start, local - back) if local - series.start > back else series.start
        for slot in rule_slots(series, since.date()):
            if slot.local >= local:
                break
            last = slot
        if since == series.start:
            break
        back *= 4
    return last


def is_over(rule: Rule, slot: Slot) -> bool:
    """Whether UNTIL lies before a slot."""
    until, day = rule.until_time, rule.until_date
    return (until is not None and slot.instant > until) or (day is not None and slot.local.date() > day)


def check_series(series: Series) -> None:
    """Raises RuleError for a series whose rule does not produce its start, and names the next slot that would do."""
    following = first_slot(series)
    if following.local != series.start:
        text = slot_text(following.local, all_day=series.all_day)
        raise RuleError("start", f"the rule does not produce its start; the next slot that would do is {text}")


def first_slot(series: Series) -> Slot:
    """The first slot of the rule at the start of a series or after it. Raises RuleError when there is none."""
    dates_of(series.rule, series.start.date()).end_of_count()
    first = next(rule_slots(series, series.start.date()), None)
    if first is None:
        raise RuleError("frequency", "the rule has no date at its start or after it")
    return first


def date_before(instant: int, time_zone: str) -> date:
    """A local date before all slots at the instant or later."""
    wall = to_wall_within(instant, time_zone)
    return (wall - _TWO_DAYS).date() if wall.date() > date(1, 1, 3) else wall.date()


def _slot(series: Series, local: datetime, *, clamped: bool = False) -> Slot:
    instant, gap = to_instant(local, series.time_zone)
    return Slot(local, instant, _MOVED[clamped, gap and not series.all_day])


def _local(slot: Slot) -> datetime:
    return slot.local
