"""When reminders of events fire."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.recurrence.offsets import parse_offset
from mesh.runtime.clock import DAY, SECOND, to_json
from services.calendar.model import CalendarEvent, DueReminder, OccurrenceRow
from services.calendar.rules import reminders as rules
from services.calendar.rules.series import planned_after
from tests.support.calendar_model import ZONE, a_row, an_event
from tests.support.imported import a_case, imported

BERLIN = "Europe/Berlin"


def instant(text: str, zone: str = "UTC") -> int:
    """A local time as microseconds since the epoch."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


def remind(*offsets: str) -> list[dict[str, Any]]:
    """Relative reminders in the app."""
    return [{"offset": offset, "channel": "in_app"} for offset in offsets]


def fires(
    event: CalendarEvent, *rows: OccurrenceRow, since: str, count: int = 10, zone: str = ZONE
) -> list[tuple[str, str | None]]:
    """The first so many firings at an instant or later: when, and of which slot."""
    own = {row.slot: row for row in rows}
    waiting = rules.recomputed(event, own, zone, instant(since), [])
    found: list[DueReminder] = []
    while waiting and len(found) < count:
        due = min(waiting, key=lambda each: (each.remind_at, each.slot or "", each.reminder))
        found.append(due)
        waiting.remove(due)
        waiting += rules.following(event, own, zone, {due.reminder: rules.after(due)})
    return [(to_json(due.remind_at), due.slot) for due in found]


def times(found: Sequence[tuple[str, str | None]]) -> list[str]:
    """Without the slots."""
    return [at for at, _ in found]


@pytest.mark.parametrize(
    ("start", "offset", "expected"),
    [
        # Case D-reminder-relative-1: the slot of the 29th is in the gap, 03:30; half an hour before is 03:00.
        ("2026-03-28T02:30:00", "-PT30M", ["2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z"]),
        # The clocks go forward on the 29th: a local day before it has 23 hours, 24 hours do not.
        ("2026-03-29T09:00:00", "-P1D", ["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"]),
        ("2026-03-29T09:00:00", "-PT24H", ["2026-03-28T07:00:00Z", "2026-03-29T07:00:00Z"]),
        # On the day before at 02:30, where there is no such hour: the offset before the gap.
        ("2026-03-30T02:30:00", "-P1D", ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]),
        # They go back on 25 October: a local day before 09:00 has 25 hours.
        ("2026-10-25T09:00:00", "-P1D", ["2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z"]),
        ("2026-10-25T09:00:00", "-PT24H", ["2026-10-24T08:00:00Z", "2026-10-25T08:00:00Z"]),
        # A repeated hour is its first time.
        ("2026-10-25T02:30:00", "PT0S", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("2026-10-25T03:30:00", "-PT1H", ["2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]),
        ("2026-10-26T02:30:00", "-P1D", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("2026-06-10T09:00:00", "-P1DT2H30M", ["2026-06-09T04:30:00Z", "2026-06-10T04:30:00Z"]),
        ("2026-06-10T09:00:00", "-P1W", ["2026-06-03T07:00:00Z", "2026-06-04T07:00:00Z"]),
    ],
)
def test_days_count_on_the_wall_clock_and_hours_pass(start: str, offset: str, expected: list[str]) -> None:
    event = an_event(start, "FREQ=DAILY;COUNT=2", time_zone=BERLIN, reminders=remind(offset))
    assert times(fires(event, since="2026-01-01T00:00:00")) == expected


@pytest.mark.parametrize(
    ("zone", "offset", "expected"),
    [
        ("Europe/Berlin", "PT0S", "2026-09-06T22:00:00Z"),
        ("America/New_York", "PT0S", "2026-09-07T04:00:00Z"),
        ("Europe/Berlin", "-P1D", "2026-09-05T22:00:00Z"),
        ("Europe/Berlin", "-PT6H", "2026-09-06T16:00:00Z"),
    ],
)
def test_what_floats_counts_in_the_zone_of_the_user(zone: str, offset: str, expected: str) -> None:
    whole_day = an_event("2026-09-07", minutes=1440, reminders=remind(offset))
    at_midnight = an_event("2026-09-07T00:00:00", time_zone=None, reminders=remind(offset))
    for event in (whole_day, at_midnight):
        assert times(fires(event, since="2026-01-01T00:00:00", zone=zone)) == [expected]


def test_the_day_before_one_without_a_midnight_has_one() -> None:
    """In Asuncion the clocks went from 00:00 to 01:00 on 6 October 2024."""
    event = an_event("2024-10-06", minutes=1440, reminders=remind("-P1D", "PT0S"))
    found = fires(event, since="2024-01-01T00:00:00", zone="America/Asuncion")
    assert times(found) == ["2024-10-05T04:00:00Z", "2024-10-06T04:00:00Z"]


def test_only_what_is_planned_is_reminded_of_at_its_own_start() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=DAILY;COUNT=5", reminders=remind("-PT10M"))
    found = fires(
        event,
        a_row("2026-09-07T18:00:00", moved_to="2026-09-09T12:00:00"),
        a_row("2026-09-08T18:00:00", status="cancelled"),
        a_row("2026-09-09T18:00:00", title="Another title"),
        a_row("2026-09-10T18:00:00", status="completed"),
        since="2026-09-01T00:00:00",
    )
    assert found == [
        ("2026-09-09T09:50:00Z", "2026-09-07T18:00:00"),
        ("2026-09-09T15:50:00Z", "2026-09-09T18:00:00"),
        ("2026-09-11T15:50:00Z", "2026-09-11T18:00:00"),
    ]


def test_two_occurrences_at_one_instant_are_two_reminders() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=DAILY;COUNT=3", reminders=remind("-PT10M"))
    moved = a_row("2026-09-09T18:00:00", moved_to="2026-09-08T18:00:00")
    assert fires(event, moved, since="2026-09-01T00:00:00") == [
        ("2026-09-07T15:50:00Z", "2026-09-07T18:00:00"),
        ("2026-09-08T15:50:00Z", "2026-09-08T18:00:00"),
        ("2026-09-08T15:50:00Z", "2026-09-09T18:00:00"),
    ]


def test_an_instant_is_reminded_of_once_however_often_the_event_recurs() -> None:
    case, content = a_case("D-ics-length-alarm-4")
    ((event, rows),) = imported(content, case["given"]["user_zone"]).events
    assert times(fires(event, *rows.values(), since=case["given"]["imported_at"][:-1])) == case["expect"]["fires_utc"]
    assert fires(event, *rows.values(), since="2026-06-02T15:31:00") == []


@pytest.mark.parametrize(
    "changes",
    [{"deleted_at": 1}, {"subscription_id": "01890000-0000-7000-8000-0000000000f1"}, {"status": "cancelled"}],
)
def test_an_event_that_does_not_take_place_or_is_of_others_reminds_of_nothing(changes: dict[str, Any]) -> None:
    reminders = [*remind("-PT10M"), {"remind_time": instant("2026-09-07T12:00:00"), "channel": "email"}]
    event = an_event("2026-09-07T18:00:00", "FREQ=DAILY", reminders=reminders)
    assert len(fires(event, since="2026-09-01T00:00:00")) == 10
    assert fires(event._replace(**changes), since="2026-09-01T00:00:00") == []


def test_what_is_past_when_it_is_made_never_fires() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=DAILY;COUNT=2", reminders=remind("-PT10M", "-P7D", "-PT2H"))
    assert fires(event, since="2026-09-07T15:00:00") == [
        ("2026-09-07T15:50:00Z", "2026-09-07T18:00:00"),
        ("2026-09-08T14:00:00Z", "2026-09-08T18:00:00"),
        ("2026-09-08T15:50:00Z", "2026-09-08T18:00:00"),
    ]
    assert fires(event, since="2026-09-08T15:50:00")[0][0] == "2026-09-08T15:50:00Z"
    assert fires(event, since="2026-09-08T15:50:01") == []


def edited(event: CalendarEvent, *rows: OccurrenceRow, due: DueReminder, at: str) -> list[tuple[str, str | None]]:
    """What fires next of a reminder that was due and had not fired, after an edit."""
    own = {row.slot: row for row in rows}
    found = rules.recomputed(event, own, ZONE, instant(at), [due])
    return [(to_json(each.remind_at), each.slot) for each in found]


def test_what_is_due_and_has_not_fired_survives_an_edit_of_something_else() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=DAILY", reminders=remind("-PT10M"))
    due = DueReminder(event.id, "-PT10M/in_app", event.user_id, instant("2026-09-07T15:50:00"), "2026-09-07T18:00:00")
    at = "2026-09-08T17:00:00"  # after an outage of a day
    missed, next_day = ("2026-09-07T15:50:00Z", due.slot), ("2026-09-08T15:50:00Z", "2026-09-08T18:00:00")
    assert edited(event._replace(title="Another"), due=due, at=at) == [missed]
    for status in ("cancelled", "completed"):
        assert edited(event, a_row("2026-09-07T18:00:00", status=status), due=due, at=at) == [next_day]
    later = a_row("2026-09-07T18:00:00", moved_to="2026-09-08T20:00:00")
    assert edited(event, later, due=due, at=at) == [next_day]
    earlier = a_row("2026-09-07T18:00:00", moved_to="2026-09-07T10:00:00")
    assert edited(event, earlier, due=due, at=at) == [next_day]
    assert edited(event._replace(reminders=remind("-PT20M")), due=due, at=at) == [
        ("2026-09-09T15:40:00Z", "2026-09-09T18:00:00")
    ]
    assert edited(event._replace(reminders=[]), due=due, at=at) == []


def test_what_moves_to_later_fires_again() -> None:
    event = an_event("2026-09-07T18:00:00", reminders=remind("-PT10M"))
    assert fires(event, since="2026-09-07T15:55:00") == []
    moved = a_row("2026-09-07T18:00:00", moved_to="2026-09-07T20:00:00")
    assert fires(event, moved, since="2026-09-07T15:55:00") == [("2026-09-07T17:50:00Z", "2026-09-07T18:00:00")]


@pytest.mark.parametrize("rule", ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=YEARLY"])
@given(data=st.data())
def test_every_occurrence_fires_once_in_the_order_of_the_instants(rule: str, data: st.DataObject) -> None:
    """Against all occurrences of three years, one by one; over changes of the clocks, and with moved ones."""
    event = an_event("2026-01-31T02:30:00", rule, time_zone=BERLIN)
    begin, days = instant("2026-02-01T00:00:00"), data.draw(st.integers(0, 900))
    since = begin + days * DAY
    slots = [each.slot for each in _until(event, {}, begin - 1, begin + 1100 * DAY)]
    rows = {}
    for slot in data.draw(st.lists(st.sampled_from(slots), max_size=6, unique=True)):
        day = data.draw(st.dates(date(2026, 2, 1), date(2028, 12, 31)))
        rows[slot] = (
            a_row(slot, moved_to=f"{day}T02:30:00") if data.draw(st.booleans()) else a_row(slot, status="cancelled")
        )
    offset = data.draw(st.sampled_from(["PT0S", "-PT10M", "-PT25H", "-P1D", "-P2DT3H", "-P40D"]))
    event = event._replace(reminders=remind(offset))
    expected = sorted(
        (at, each.slot)
        for each in _until(event, rows, 0, since + 500 * DAY)
        if (at := rules.instant_of(each, parse_offset(offset), BERLIN)) is not None and at >= since
    )
    own, found = {f"{offset}/in_app": (since, "")}, []
    for _ in range(12):
        [due] = rules.following(event, rows, BERLIN, own)
        found.append((due.remind_at, due.slot))
        own = {due.reminder: rules.after(due)}
    both = min(len(found), len(expected))
    assert found[:both] == expected[:both]


def _until(event: CalendarEvent, rows: dict[str, OccurrenceRow], begin: int, end: int) -> list[Any]:
    found = []
    for each in planned_after(event, rows, begin, BERLIN):
        if each.start >= end:
            break
        found.append(each)
    return found


def test_far_in_an_endless_series_the_next_firing_costs_as_much_as_at_its_beginning() -> None:
    """By the occurrences that are looked at, which are those near the offset alone."""
    event = an_event("2000-01-01T09:00:00", "FREQ=DAILY", reminders=remind("-P366D"))
    for year in ("2001", "2300"):
        assert fires(event, since=f"{year}-06-01T00:00:00", count=1)[0][0] == f"{year}-06-01T07:00:00Z"


def test_names_tell_reminders_apart_and_say_what_they_are() -> None:
    at = round(datetime(2026, 6, 2, tzinfo=UTC).timestamp()) * SECOND
    made = [rules.name_of(each) for each in (*remind("-P1D"), {"remind_time": at, "channel": "email"})]
    assert made == ["-P1D/in_app", f"@{at}/email"]
    assert [rules.named(name) for name in made] == [("-P1D", "in_app"), ("", "email")]
