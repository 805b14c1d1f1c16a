"""Series as tests say them, and what comes out as tests compare it."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from mesh.recurrence.rule import MonthEnd
from mesh.recurrence.series import Series, Slot, slots
from mesh.recurrence.text import parse
from mesh.runtime.clock import SECOND, to_datetime


def instant(text: str) -> int:
    """The instant of `2026-03-29T01:30:00Z`."""
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def local(text: str) -> datetime:
    """The wall-clock time of `2026-03-29T01:30:00`."""
    return datetime.fromisoformat(text)


def series(start: str, zone: str, rule: str, month_end: str = "clamp", **more: object) -> Series:
    """A series of a rule's text. start: a date makes it all-day."""
    made = Series(local(start), zone, parse(rule, month_end=MonthEnd(month_end.lower())), all_day="T" not in start)
    return made._replace(**more)  # type: ignore[arg-type]


def all_slots(of: Series, most: int = 100) -> list[Slot]:
    """Its occurrences, at most `most`."""
    return list(islice(slots(of), most))


def utc(found: Iterable[Slot]) -> list[str]:
    """Instants as text."""
    return [f"{to_datetime(slot.instant):%Y-%m-%dT%H:%M:%SZ}" for slot in found]


def locals_of(found: Iterable[Slot]) -> list[str]:
    """Identities as text."""
    return [slot.local.isoformat() for slot in found]


def dates_of(found: Iterable[Slot]) -> list[str]:
    """Local dates as text."""
    return [slot.local.date().isoformat() for slot in found]


def wall(slot: Slot, zone: str) -> str:
    """What the clock on the wall shows at a slot, with its offset: `02:30+01:00`."""
    return (
        to_datetime(slot.instant).astimezone(ZoneInfo(zone)).isoformat()[11:16]
        + (to_datetime(slot.instant).astimezone(ZoneInfo(zone)).isoformat()[19:])
    )
