"""What completing an occurrence makes of a series."""

import pytest

from mesh.recurrence.completion import next_slot, timing
from mesh.recurrence.rule import RepeatFrom
from mesh.recurrence.series import slot_text
from tests.unit.mesh.recurrence.build import instant, local, series

FUTURE, MISSED, COMPLETION = RepeatFrom.DUE_NEXT_FUTURE, RepeatFrom.DUE_EVERY_MISSED, RepeatFrom.COMPLETION


@pytest.mark.parametrize(
    ("start", "zone", "rule", "repeat", "completed", "at", "expected"),
    [
        # Eight days overdue: 08:00 of the same morning is still ahead.
        ("2026-08-01T08:00:00", "Europe/Berlin", "FREQ=DAILY", FUTURE, "2026-08-01T08:00:00",
         "2026-08-09T05:45:00Z", "2026-08-09T08:00:00"),
        ("2026-08-01T08:00:00", "Europe/Berlin", "FREQ=DAILY", FUTURE, "2026-08-01T08:00:00",
         "2026-08-09T06:00:00Z", "2026-08-10T08:00:00"),
        ("2026-08-01T08:00:00", "Europe/Berlin", "FREQ=DAILY", MISSED, "2026-08-01T08:00:00",
         "2026-08-09T05:45:00Z", "2026-08-02T08:00:00"),
        # Early: the next after the completed slot.
        ("2026-07-31T18:00:00", "Europe/London", "FREQ=MONTHLY", FUTURE, "2026-07-31T18:00:00",
         "2026-07-30T09:00:00Z", "2026-08-31T18:00:00"),
        ("2026-06-01T09:00:00", "Europe/Berlin", "FREQ=DAILY;INTERVAL=2", FUTURE, "2026-06-01T09:00:00",
         "2026-06-01T06:00:00Z", "2026-06-03T09:00:00"),
        # The last one ends the series.
        ("2026-06-01T09:00:00", "Europe/Berlin", "FREQ=DAILY;COUNT=2", FUTURE, "2026-06-02T09:00:00",
         "2026-06-02T06:00:00Z", None),
        ("2026-06-01T09:00:00", "Europe/Berlin", "FREQ=DAILY;COUNT=3", FUTURE, "2026-06-01T09:00:00",
         "2026-07-02T06:00:00Z", None),
        # A slot of a skipped date is still ahead on the date after it.
        ("2011-12-28T10:00:00", "Pacific/Apia", "FREQ=DAILY", FUTURE, "2011-12-29T10:00:00",
         "2011-12-30T19:00:00Z", "2011-12-30T10:00:00"),
        # All-day: a date is ahead until it is over.
        ("2026-08-01", "Europe/Berlin", "FREQ=DAILY", FUTURE, "2026-08-01", "2026-08-09T21:59:00Z", "2026-08-09"),
        ("2026-08-01", "Europe/Berlin", "FREQ=DAILY", FUTURE, "2026-08-09", "2026-08-09T21:59:00Z", "2026-08-10"),
        # From the completion: its local date, or that of the slot, plus the interval, at the time of the series.
        ("2026-08-01T08:00:00", "Europe/Berlin", "FREQ=WEEKLY", COMPLETION, "2026-08-01T08:00:00",
         "2026-08-09T22:30:00Z", "2026-08-17T08:00:00"),
        ("2026-08-01T08:00:00", "Europe/Berlin", "FREQ=WEEKLY", COMPLETION, "2026-08-15T08:00:00",
         "2026-08-09T22:30:00Z", "2026-08-22T08:00:00"),
        ("2026-01-31T08:00:00", "Europe/Berlin", "FREQ=MONTHLY", COMPLETION, "2026-01-31T08:00:00",
         "2026-01-31T09:00:00Z", "2026-02-28T08:00:00"),
        # BYDAY chooses the first date that fits.
        ("2026-08-03T08:00:00", "Europe/Berlin", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", COMPLETION,
         "2026-08-03T08:00:00", "2026-08-04T09:00:00Z", "2026-08-20T08:00:00"),
        ("2026-08-03T08:00:00", "Europe/Berlin", "FREQ=DAILY;UNTIL=20260805", COMPLETION,
         "2026-08-03T08:00:00", "2026-08-05T09:00:00Z", None),
        ("2026-08-03T08:00:00", "Europe/Berlin", "FREQ=DAILY;COUNT=5", COMPLETION,
         "2026-08-03T08:00:00", "2026-08-05T09:00:00Z", None),
    ],
)  # fmt: skip
def test_the_slot_after_a_completed_one(
    start: str, zone: str, rule: str, repeat: RepeatFrom, completed: str, at: str, expected: str | None
) -> None:
    of = series(start, zone, rule)
    found = next_slot(of, local(completed), instant(at), repeat, made=5)
    assert (found and slot_text(found.local, all_day=of.all_day)) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-07-30T09:00:00Z", "early"),
        ("2026-07-30T22:59:59Z", "early"),
        ("2026-07-30T23:00:00Z", "on_time"),
        ("2026-07-31T22:59:59Z", "on_time"),
        ("2026-07-31T23:00:00Z", "late"),
    ],
)
def test_how_punctual_a_completion_was_says_the_local_day_of_its_slot(at: str, expected: str) -> None:
    monthly = series("2026-07-31T18:00:00", "Europe/London", "FREQ=MONTHLY")
    assert timing(monthly, local("2026-07-31T18:00:00"), instant(at)) == expected


def test_a_cancelled_slot_is_not_the_next() -> None:
    weekly = series("2026-09-07T18:00:00", "Europe/Zurich", "FREQ=WEEKLY", cancelled=(local("2026-09-14T18:00:00"),))
    found = next_slot(weekly, weekly.start, instant("2026-09-07T18:00:00Z"), FUTURE, made=1)
    assert found is not None
    assert found.local == local("2026-09-21T18:00:00")
