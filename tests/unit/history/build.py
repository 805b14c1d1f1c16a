"""Recorded sessions for tests of rules."""

from datetime import UTC, datetime

from mesh.runtime.clock import SECOND
from services.history.model import Interval, IntervalKind, Recorded, Span, Zone
from services.history.rules.sessions import spanned

USER, SESSION = "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"


def instant(text: str) -> int:
    """An instant; UTC when the text names no offset."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * SECOND)


def focus(*spans: tuple[str, str], number: int = 1, task_id: str | None = None, is_pomodoro: bool = True) -> Interval:
    """A focus interval of 25 minutes that ran in these spans."""
    ran = tuple(Span(instant(begin), instant(end), task_id) for begin, end in spans)
    return Interval(number, IntervalKind.FOCUS, 1500, ran[-1].end, is_pomodoro, ran)


def recorded(*intervals: Interval) -> Recorded:
    """A session with these intervals."""
    return spanned(Recorded(SESSION, USER, None, None, intervals, {}, None, None, None))


def zones(*since: tuple[str, str], day_start_minutes: int = 0) -> tuple[Zone, ...]:
    """Where a user was since when."""
    return tuple(Zone(instant(begin), zone, day_start_minutes) for begin, zone in since)


def at_home(zone: str, day_start_minutes: int = 0) -> tuple[Zone, ...]:
    """A user who was always in one zone."""
    return zones(("2020-01-01", zone), day_start_minutes=day_start_minutes)
