"""How long before a due time a reminder is, on the wall clock and in time that passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.recurrence.offsets import Offset, before, parse_offset
from mesh.recurrence.zones import to_wall
from mesh.runtime.clock import DAY, SECOND
from tests.unit.mesh.recurrence.build import instant

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("PT0S", Offset(0, 0)),
        ("-PT0S", Offset(0, 0)),
        ("P0D", Offset(0, 0)),
        ("-PT30M", Offset(0, 1800)),
        ("-PT24H", Offset(0, 86400)),
        ("-P1D", Offset(1, 0)),
        ("-P2W", Offset(14, 0)),
        ("-P1DT2H3M4S", Offset(1, 7384)),
        ("-P366D", Offset(366, 0)),
        ("-PT8784H", Offset(0, 366 * 86400)),
    ],
)
def test_an_offset_is_read_from_its_text(text: str, offset: Offset) -> None:
    assert parse_offset(text) == offset


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "-P", "-PT", "-P1DT", "1D", "-1D", "P1D", "PT1S", "+P1D", "-P1M", "-P1Y", "-P1.5D", "-P1W2D"),
        *("-p1d", "-P367D", "-P366DT1S", "-PT8785H", "-P99W", "-P1D ", "-P-1D", "-PT\u0661H", "-P1D\n"),
    ],
)
def test_every_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_offset(text)


@pytest.mark.parametrize(
    ("due", "offset", "expected"),
    [
        ("2026-03-29T07:00", "-P1D", "2026-03-28T08:00"),  # 09:00 on both days, over the change
        ("2026-03-29T07:00", "-PT24H", "2026-03-28T07:00"),
        ("2026-10-25T08:00", "-P1D", "2026-10-24T07:00"),
        ("2026-10-25T08:00", "-P1DT1H", "2026-10-24T06:00"),
        ("2026-03-30T00:30", "-P1D", "2026-03-29T01:30"),  # 02:30 is in the gap
        ("2026-03-29T01:30", "-PT30M", "2026-03-29T01:00"),  # case D-reminder-relative-1
        ("2026-10-25T01:30", "-PT30M", "2026-10-25T01:00"),  # the second 02:30 of that night
        ("2026-10-25T01:30", "PT0S", "2026-10-25T01:30"),
    ],
)
def test_days_are_of_the_wall_clock_and_hours_pass(due: str, offset: str, expected: str) -> None:
    assert before(instant(f"{due}:00Z"), parse_offset(offset), BERLIN) == instant(f"{expected}:00Z")


@given(st.integers(0, 60_000), st.integers(0, 366), st.integers(0, 86_400))
def test_a_reminder_is_never_after_what_it_is_for(hours: int, days: int, seconds: int) -> None:
    due = hours * 3600 * SECOND
    fires = before(due, Offset(days, seconds), BERLIN)
    assert abs(due - fires - days * DAY - seconds * SECOND) <= 3 * 3600 * SECOND
    assert fires <= due
    if not seconds:
        was, is_due = to_wall(fires, BERLIN), to_wall(due, BERLIN)
        assert (is_due.date() - was.date()).days == days
