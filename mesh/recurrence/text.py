"""A rule as the RRULE of RFC 5545, read and written. What Focusmesh does not have is refused by name, never ignored."""

import re
from datetime import UTC, date, datetime

from mesh.recurrence.rule import WEEKDAYS, Day, Frequency, MonthEnd, Rule, RuleError, checked
from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import SECOND, to_datetime

_NAMES = {
    "frequency": "FREQ",
    "interval": "INTERVAL",
    "count": "COUNT",
    "until_time": "UNTIL",
    "until_date": "UNTIL",
    "by_day": "BYDAY",
    "by_month_day": "BYMONTHDAY",
    "by_month": "BYMONTH",
    "by_set_pos": "BYSETPOS",
    "week_start": "WKST",
}
_DAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_UNTIL = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?", re.ASCII)


def parse(text: str, *, month_end: MonthEnd = MonthEnd.SKIP, time_zone: str | None = None) -> Rule:
    """The rule of a text such as `FREQ=WEEKLY;BYDAY=MO`. Raises RuleError, which names the part as the text does.

    time_zone: of an UNTIL without Z; without it such an UNTIL is refused.
    """
    parts: dict[str, str] = {}
    for item in text.strip().upper().split(";"):
        name, equals, value = item.partition("=")
        if not equals or not value:
            raise RuleError(name[:20] or "RRULE", "must be NAME=VALUE")
        if name not in _NAMES.values():
            raise RuleError(name[:20], "is not supported")
        if name in parts:
            raise RuleError(name, "is given twice")
        parts[name] = value
    if parts.get("FREQ", "").lower() not in set(Frequency):
        raise RuleError("FREQ", "must be DAILY, WEEKLY, MONTHLY or YEARLY")
    if "COUNT" in parts and "UNTIL" in parts:
        raise RuleError("UNTIL", "a rule has one end only")
    until_time, until_date = _until(parts["UNTIL"], time_zone) if "UNTIL" in parts else (None, None)
    rule = Rule(
        Frequency(parts["FREQ"].lower()),
        interval=_one("INTERVAL", parts.get("INTERVAL", "1")),
        times=_one("COUNT", parts["COUNT"]) if "COUNT" in parts else None,
        until_time=until_time,
        until_date=until_date,
        by_day=tuple(parse_day(item, "BYDAY") for item in _items(parts, "BYDAY")),
        by_month_day=tuple(_one("BYMONTHDAY", item) for item in _items(parts, "BYMONTHDAY")),
        by_month=tuple(_one("BYMONTH", item) for item in _items(parts, "BYMONTH")),
        by_set_pos=tuple(_one("BYSETPOS", item) for item in _items(parts, "BYSETPOS")),
        week_start=parse_day(parts.get("WKST", "MO"), "WKST").weekday,
        month_end=month_end,
    )
    try:
        return checked(rule)
    except RuleError as error:
        raise RuleError(_NAMES[error.part], error.description) from None


def render(rule: Rule, start: date) -> str:
    """The text of a rule whose start is on a date; one that clamps becomes an equal plain rule.

    Raises RuleError when RFC 5545 has none.
    """
    plain = _plain(rule, start)
    parts = [f"FREQ={plain.frequency.upper()}"]
    if plain.interval != 1:
        parts.append(f"INTERVAL={plain.interval}")
    if plain.times is not None:
        parts.append(f"COUNT={plain.times}")
    if plain.until_time is not None:
        until = to_datetime(plain.until_time // SECOND * SECOND)
        parts.append(f"UNTIL={until.year:04}{until:%m%dT%H%M%SZ}")  # strftime does not pad years before 1000
    if plain.until_date is not None:
        parts.append(f"UNTIL={plain.until_date.year:04}{plain.until_date:%m%d}")
    for name, values in (("BYMONTH", plain.by_month), ("BYMONTHDAY", plain.by_month_day)):
        if values:
            parts.append(f"{name}={','.join(map(str, values))}")
    if plain.by_day:
        parts.append(f"BYDAY={','.join(map(render_day, plain.by_day))}")
    if plain.by_set_pos:
        parts.append(f"BYSETPOS={','.join(map(str, plain.by_set_pos))}")
    if plain.week_start:
        parts.append(f"WKST={WEEKDAYS[plain.week_start]}")
    return ";".join(parts)


def parse_day(text: str, part: str) -> Day:
    """The day of a text such as `MO` or `-1FR`. Raises RuleError, which names the part."""
    found = _DAY.fullmatch(text)
    if found is None or (found[1] is not None and (int(found[1]) == 0 or part == "WKST")):
        raise RuleError(part, "must be days such as MO, or 1MO to 53MO and -1MO to -53MO")
    return Day(WEEKDAYS.index(found[2]), int(found[1] or 0))


def render_day(day: Day) -> str:
    """The text of a day, such as `MO` or `-1FR`."""
    return f"{day.ordinal or ''}{WEEKDAYS[day.weekday]}"


def _items(parts: dict[str, str], name: str) -> list[str]:
    return parts[name].split(",") if name in parts else []


def _one(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise RuleError(name, "must be whole numbers")
    return int(text)


def _until(text: str, time_zone: str | None) -> tuple[int | None, date | None]:
    found = _UNTIL.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        if found[2] is None:
            return None, datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC).date()
        wall = datetime.strptime(found[1] + found[2], "%Y%m%d%H%M%S").replace(tzinfo=None)
    except ValueError:
        raise RuleError("UNTIL", "must be a date or a time, such as 20260815T093000Z") from None
    if not found[3] and time_zone is None:
        raise RuleError("UNTIL", "must be a date or end with Z")
    return to_instant(wall, "UTC" if found[3] else time_zone or "UTC")[0], None


def _plain(rule: Rule, start: date) -> Rule:
    """An equal rule that does not clamp. Anchor 31: the last of the days 28, 29, 30 and 31 that a month has."""
    monthly, yearly = rule.frequency is Frequency.MONTHLY, rule.frequency is Frequency.YEARLY
    if not rule.clamps or not (monthly or yearly):
        return rule
    days = rule.by_month_day or (start.day,)
    if max(days) <= 28:
        return rule
    months = rule.by_month or (() if monthly or rule.by_month_day else (start.month,))
    most = max(_MOST_DAYS_OF_MONTH[month] for month in (months or (1,)))
    if all(day <= min(_MONTH_LENGTHS[month] for month in (months or (2,))) for day in days):
        return rule
    late = [day for day in days if day > 28]
    if len(late) > 1 or any(day < 0 for day in days) or (yearly and len(months) != 1):
        raise RuleError("month_end", "no rule of RFC 5545 moves these days to the end of a month; choose SKIP")
    early = tuple(day for day in days if day < 28)
    return rule._replace(
        by_month=months,
        by_month_day=(*early, *range(28, min(late[0], most) + 1)),
        by_set_pos=(-1, *range(1, len(early) + 1), *((len(early) + 1,) if 28 in days else ())),
    )


_MONTH_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MOST_DAYS_OF_MONTH = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
