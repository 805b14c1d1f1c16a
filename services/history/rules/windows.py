"""Windows of dates and of instants: weeks, levels, and where cold storage begins."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from mesh.runtime.clock import DAY, SECOND, to_datetime
from services.history import errors
from services.history.model import WeekStart

_ISO_WEEKDAY = {WeekStart.MONDAY: 1, WeekStart.SATURDAY: 6, WeekStart.SUNDAY: 7}
_LEVELS = 4


def require_window(first: date, before: date, most_days: int) -> None:
    """Raises when a window of dates is empty or too long."""
    if before <= first:
        raise errors.invalid("before_date", "must be after from_date")
    if (before - first).days > most_days:
        raise errors.invalid("before_date", f"must be at most {most_days} days after from_date")


def parse_date(field: str, text: str) -> date:
    """The date; raises InvalidRequest for one that no calendar has."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise errors.invalid(field, "must be a date of the calendar") from None


def week_start_number(week_start: str) -> int:
    """The day of the week on which weeks begin, from 1 for Monday."""
    return _ISO_WEEKDAY[WeekStart(week_start)]


def week_of(day: date, week_start: str) -> date:
    """The first date of the week of a date."""
    return day - timedelta(days=(day.isoweekday() - week_start_number(week_start)) % 7)


def level(seconds: int, most: int) -> int:
    """The quarter of the most seconds of a day that these reach, 1 to 4; 0 without any."""
    return -(-seconds * _LEVELS // most) if seconds else 0


def hot_from(now: int, retention_days: int) -> int:
    """The first instant that is not in cold storage: the begin of the month in which the retention ends."""
    return month_of(now - retention_days * DAY)


def month_of(instant: int) -> int:
    """The begin of the month of an instant, UTC."""
    begin = to_datetime(instant).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(begin.timestamp()) * SECOND


def months_ahead(now: int, months: int) -> int:
    """The begin of the month so many months later."""
    here = to_datetime(now)
    count = here.year * 12 + here.month - 1 + months
    return int(datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC).timestamp()) * SECOND


def months_between(instants: Sequence[int]) -> list[int]:
    """The begins of the months in which these instants are, each once and in order."""
    return sorted({month_of(instant) for instant in instants})
