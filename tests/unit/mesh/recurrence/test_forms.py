"""A rule as text, as JSON and as a message: what is read is what was written."""

from datetime import date, datetime
from itertools import islice

import pytest
from dateutil import rrule
from focusmesh.type.v1 import recurrence_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from mesh.recurrence.document import from_document, to_document
from mesh.recurrence.rule import MonthEnd, RepeatFrom, Rule, RuleError
from mesh.recurrence.series import Series, slots
from mesh.recurrence.text import parse, render
from mesh.recurrence.wire import document_to_pb, repeat_from_pb, repeat_to_pb, rule_from_pb, rule_to_pb
from mesh.rpc.validation import check
from mesh.runtime.errors import InvalidRequest
from tests.support.recurrence_rules import rules

ENDS = st.one_of(
    st.just({}),
    st.builds(lambda count: {"times": count}, st.integers(1, 1000)),
    st.builds(lambda second: {"until_time": second * 1_000_000}, st.integers(0, 2**35)),
    st.builds(lambda day: {"until_date": day}, st.dates(date(1970, 1, 1))),
)
ANY = st.builds(
    lambda rule, end, month_end: rule._replace(**end, month_end=month_end), rules(), ENDS, st.sampled_from(MonthEnd)
)


@given(ANY)
def test_the_document_of_a_rule_is_read_as_it_was_written(rule: Rule) -> None:
    assert from_document(to_document(rule)) == rule


@given(ANY)
def test_the_message_of_a_rule_is_valid_and_read_as_it_was_written(rule: Rule) -> None:
    message = rule_to_pb(rule)
    check(message)
    assert rule_from_pb(message) == rule


@given(ANY)
def test_a_stored_rule_has_the_message_of_its_rule(rule: Rule) -> None:
    stored = to_document(rule)
    assert document_to_pb(stored) == rule_to_pb(rule)
    assert document_to_pb(dict(reversed(stored.items()))) == rule_to_pb(rule)
    assert document_to_pb(stored) is document_to_pb(to_document(rule))


@given(ANY)
def test_the_text_of_a_plain_rule_is_read_as_it_was_written(rule: Rule) -> None:
    plain = rule._replace(month_end=MonthEnd.SKIP)
    assert parse(render(plain, date(2026, 1, 1))) == plain


@pytest.mark.parametrize(
    ("start", "rule", "expected"),
    [
        ("2026-01-31", "FREQ=MONTHLY", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"),
        ("2026-01-29", "FREQ=MONTHLY;COUNT=4", "FREQ=MONTHLY;COUNT=4;BYMONTHDAY=28,29;BYSETPOS=-1"),
        ("2026-01-28", "FREQ=MONTHLY", "FREQ=MONTHLY"),
        ("2028-02-29", "FREQ=YEARLY", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1"),
        ("2026-01-31", "FREQ=YEARLY", "FREQ=YEARLY"),
        ("2026-01-15", "FREQ=MONTHLY;BYMONTHDAY=15,31", "FREQ=MONTHLY;BYMONTHDAY=15,28,29,30,31;BYSETPOS=-1,1"),
        ("2026-01-31", "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=MONTHLY;BYMONTHDAY=-1"),
        ("2026-01-31", "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=1,3", "FREQ=MONTHLY;BYMONTH=1,3;BYMONTHDAY=31"),
        ("2026-01-31", "FREQ=WEEKLY;WKST=SU", "FREQ=WEEKLY;WKST=SU"),
    ],
)
def test_a_rule_that_clamps_is_written_as_an_equal_plain_rule(start: str, rule: str, expected: str) -> None:
    begin = datetime.fromisoformat(f"{start}T09:00:00")
    clamped = parse(rule, month_end=MonthEnd.CLAMP)
    text = render(clamped, begin.date())
    assert text == expected
    by_dateutil = list(islice(rrule.rrulestr(text, dtstart=begin), 40))
    assert [slot.local for slot in islice(slots(Series(begin, "UTC", clamped)), 40)] == by_dateutil


def test_two_days_that_clamp_have_no_plain_rule() -> None:
    with pytest.raises(RuleError) as refused:
        render(parse("FREQ=MONTHLY;BYMONTHDAY=29,31", month_end=MonthEnd.CLAMP), date(2026, 1, 29))
    assert refused.value.part == "month_end"


def test_an_end_in_local_time_is_read_in_the_zone_of_the_series() -> None:
    assert parse("FREQ=DAILY;UNTIL=20260815T093000", time_zone="Europe/Berlin").until_time == 1_786_779_000_000_000


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.Recurrence(frequency=pb.FREQUENCY_WEEKLY, by_month_day=[1]), "recurrence.by_month_day"),
        (pb.Recurrence(frequency=pb.FREQUENCY_DAILY, until_date="2026-02-30"), "recurrence.until_date"),
        (
            pb.Recurrence(
                frequency=pb.FREQUENCY_MONTHLY, by_day=[pb.RecurrenceDay(weekday=pb.WEEKDAY_MONDAY, ordinal=6)]
            ),
            "recurrence.by_day",
        ),
        (pb.Recurrence(frequency=pb.FREQUENCY_MONTHLY, by_set_pos=[1]), "recurrence.by_set_pos"),
    ],
)
def test_a_message_whose_parts_contradict_is_refused_with_the_part(message: pb.Recurrence, field: str) -> None:
    check(message)  # what the contract can say holds
    with pytest.raises(InvalidRequest) as refused:
        rule_from_pb(message)
    assert [violation.field for violation in refused.value.fields] == [field]


@pytest.mark.parametrize("repeat", RepeatFrom)
def test_every_pace_has_a_value_in_the_contract(repeat: RepeatFrom) -> None:
    assert repeat_from_pb(repeat_to_pb(repeat)) is repeat
    assert repeat_from_pb(pb.REPEAT_FROM_UNSPECIFIED) is RepeatFrom.DUE_NEXT_FUTURE


def test_a_count_that_is_too_large_is_not_called_something_else() -> None:
    with pytest.raises(RuleError, match="COUNT: must be 1 to") as refused:
        parse("FREQ=DAILY;COUNT=99999")
    assert refused.value.part == "COUNT"


@pytest.mark.parametrize("until", ["00020101", "09991231T235959Z"])
def test_an_end_before_the_year_1000_is_written_as_it_is_read(until: str) -> None:
    text = f"FREQ=DAILY;UNTIL={until}"
    assert render(parse(text), date(2, 1, 1)) == text
