"""A rule as JSON: how it is stored, and how events show it. Every key is always present."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.recurrence.rule import WEEKDAYS, Frequency, MonthEnd, Rule
from mesh.recurrence.text import parse_day, render_day
from mesh.runtime.clock import from_timestamp, to_json


def to_document(rule: Rule) -> dict[str, Any]:
    """The rule as a JSON object."""
    return {
        "frequency": rule.frequency.value,
        "interval": rule.interval,
        "count": rule.times,
        "until_time": None if rule.until_time is None else to_json(rule.until_time),
        "until_date": None if rule.until_date is None else rule.until_date.isoformat(),
        "by_day": [render_day(day) for day in rule.by_day],
        "by_month_day": list(rule.by_month_day),
        "by_month": list(rule.by_month),
        "by_set_pos": list(rule.by_set_pos),
        "week_start": WEEKDAYS[rule.week_start],
        "month_end": rule.month_end.value,
    }


def from_document(document: Mapping[str, Any]) -> Rule:
    """The rule of a JSON object that `to_document` made; keys that were added since then may be missing."""
    until_date = document.get("until_date")
    return Rule(
        Frequency(document["frequency"]),
        interval=document.get("interval", 1),
        times=document.get("count"),
        until_time=_instant(document.get("until_time")),
        until_date=None if until_date is None else date.fromisoformat(until_date),
        by_day=tuple(parse_day(text, "by_day") for text in document.get("by_day", ())),
        by_month_day=tuple(document.get("by_month_day", ())),
        by_month=tuple(document.get("by_month", ())),
        by_set_pos=tuple(document.get("by_set_pos", ())),
        week_start=WEEKDAYS.index(document.get("week_start", "MO")),
        month_end=MonthEnd(document.get("month_end", "clamp")),
    )


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    instant = Timestamp()
    instant.FromJsonString(text)
    return from_timestamp(instant)
