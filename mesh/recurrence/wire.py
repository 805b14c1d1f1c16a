"""A rule as a message of the contract. The only file here that knows generated code."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

import orjson
from focusmesh.type.v1 import recurrence_pb2 as pb

from mesh.recurrence.document import from_document
from mesh.recurrence.rule import Day, Frequency, MonthEnd, RepeatFrom, Rule, RuleError, checked
from mesh.runtime.clock import from_timestamp, set_timestamp
from mesh.runtime.errors import FieldViolation, InvalidRequest

_FREQUENCIES = {
    Frequency.DAILY: pb.FREQUENCY_DAILY,
    Frequency.WEEKLY: pb.FREQUENCY_WEEKLY,
    Frequency.MONTHLY: pb.FREQUENCY_MONTHLY,
    Frequency.YEARLY: pb.FREQUENCY_YEARLY,
}
_OF_FREQUENCY = {value: frequency for frequency, value in _FREQUENCIES.items()}
_MONTH_ENDS = {MonthEnd.CLAMP: pb.MONTH_END_CLAMP, MonthEnd.SKIP: pb.MONTH_END_SKIP}
_REPEATS = {
    RepeatFrom.DUE_NEXT_FUTURE: pb.REPEAT_FROM_DUE_NEXT_FUTURE,
    RepeatFrom.DUE_EVERY_MISSED: pb.REPEAT_FROM_DUE_EVERY_MISSED,
    RepeatFrom.COMPLETION: pb.REPEAT_FROM_COMPLETION,
}
_OF_REPEAT = {value: repeat for repeat, value in _REPEATS.items()}


def rule_to_pb(rule: Rule) -> pb.Recurrence:
    """The message of a rule, with every default spelled out."""
    message = pb.Recurrence(
        frequency=_FREQUENCIES[rule.frequency],
        interval=rule.interval,
        by_day=[
            pb.RecurrenceDay(weekday=pb.Weekday.ValueType(day.weekday + 1), ordinal=day.ordinal) for day in rule.by_day
        ],
        by_month_day=rule.by_month_day,
        by_month=rule.by_month,
        by_set_pos=rule.by_set_pos,
        week_start=pb.Weekday.ValueType(rule.week_start + 1),
        month_end=_MONTH_ENDS[rule.month_end],
    )
    if rule.times is not None:
        message.count = rule.times
    if rule.until_date is not None:
        message.until_date = rule.until_date.isoformat()
    if rule.until_time is not None:
        set_timestamp(message.until_time, rule.until_time)
    return message


def document_to_pb(document: Mapping[str, Any]) -> pb.Recurrence:
    """The message of a stored rule. It is shared by everyone who asks for the same rule: copy it, never change it.

    A list of recurring tasks has 50 of them and few different rules: a tenth of the time it takes to make each.
    """
    return _of_document(orjson.dumps(document))


@lru_cache(maxsize=1024)
def _of_document(stored: bytes) -> pb.Recurrence:
    return rule_to_pb(from_document(orjson.loads(stored)))


def rule_from_pb(message: pb.Recurrence, field: str = "recurrence") -> Rule:
    """The rule of a message that the contract found valid. Raises InvalidRequest, which names a part of `field`."""
    end = message.WhichOneof("end")
    try:
        return checked(
            Rule(
                _OF_FREQUENCY[message.frequency],
                interval=message.interval or 1,
                times=message.count if end == "count" else None,
                until_time=from_timestamp(message.until_time) if end == "until_time" else None,
                until_date=_date(message.until_date) if end == "until_date" else None,
                by_day=tuple(Day(day.weekday - 1, day.ordinal) for day in message.by_day),
                by_month_day=tuple(message.by_month_day),
                by_month=tuple(message.by_month),
                by_set_pos=tuple(message.by_set_pos),
                week_start=max(message.week_start - 1, 0),
                month_end=MonthEnd.SKIP if message.month_end == pb.MONTH_END_SKIP else MonthEnd.CLAMP,
            )
        )
    except RuleError as error:
        raise invalid(error, field) from None


def invalid(error: RuleError, field: str = "recurrence") -> InvalidRequest:
    """The error for callers of a rule that is not valid."""
    path = f"{field}.{error.part}"
    return InvalidRequest(fields=[FieldViolation(path, error.description)], summary=f"{path}: {error.description}")


def repeat_to_pb(repeat: RepeatFrom) -> pb.RepeatFrom.ValueType:
    """The value of the contract."""
    return _REPEATS[repeat]


def repeat_from_pb(value: pb.RepeatFrom.ValueType) -> RepeatFrom:
    """The value of the model; unspecified is the default."""
    return _OF_REPEAT.get(value, RepeatFrom.DUE_NEXT_FUTURE)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RuleError("until_date", "must be a date of the calendar") from None
