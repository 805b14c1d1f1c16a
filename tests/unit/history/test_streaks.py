"""Goals and streaks."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.history.model import Goals, Vacation
from services.history.rules import days, goals
from tests.unit.history.build import focus, instant, recorded, zones

JUNE = date(2026, 6, 1)


def june(*numbers: int) -> list[date]:
    return [date(2026, 6, number) for number in numbers]


def test_days_off_and_vacations_are_neutral_and_today_is_not_over() -> None:
    """Case D-sums-2."""
    user = Goals(days_off=(6, 7), vacations=(Vacation(date(2026, 6, 10), date(2026, 6, 11)),))
    assert goals.streak(june(4, 5, 8, 9, 12), user, date(2026, 6, 15)).current == 5


def test_a_repeated_date_counts_once() -> None:
    """Case D-travel-1, the streak."""
    user = zones(("2026-01-01", "Asia/Tokyo"), ("2026-06-11T02:00Z", "America/Los_Angeles"))
    worked = ("2026-06-09T00:00Z", "2026-06-10T00:00Z", "2026-06-11T03:00Z", "2026-06-11T17:00Z")
    parts = [days.split(recorded(focus((begin, begin.replace(":00Z", ":25Z")))), user) for begin in worked]
    qualifying = {part.local_date for each in parts for part in each if part.pomodoro_count}
    assert goals.streak(qualifying, Goals(), date(2026, 6, 11)).current == 3


def test_from_kiritimati_to_honolulu_and_back_the_streak_goes_on() -> None:
    user = zones(
        ("2026-01-01", "Pacific/Kiritimati"),
        ("2026-06-09T23:00Z", "Pacific/Honolulu"),
        ("2026-06-12T09:00Z", "Pacific/Kiritimati"),
    )
    on_the_island = ["2026-06-08T22:00Z", "2026-06-09T22:00Z"]  # the 9th and the 10th
    in_honolulu = [
        "2026-06-10T00:00Z",
        "2026-06-10T22:00Z",
        "2026-06-11T22:00Z",
    ]  # the 9th and the 10th again, the 11th
    back = ["2026-06-12T09:00Z", "2026-06-12T22:00Z"]  # the 12th from 23:00 on, the 13th
    parts = [
        days.split(recorded(focus((begin, begin.replace(":00Z", ":25Z")))), user)
        for begin in (*on_the_island, *in_honolulu, *back)
    ]
    qualifying = {part.local_date for each in parts for part in each if part.pomodoro_count}
    assert qualifying == set(june(9, 10, 11, 12, 13))
    assert days.date_at(user, instant("2026-06-12T23:00Z")) == date(2026, 6, 13)
    streak = goals.streak(qualifying, Goals(), date(2026, 6, 13), was_lived=lambda day: days.was_lived(user, day))
    assert streak.current == 5


def test_a_date_that_was_never_lived_does_not_break_a_streak() -> None:
    user = zones(("2026-01-01", "Pacific/Pago_Pago"), ("2026-06-11T10:30Z", "Pacific/Kiritimati"))
    streak = goals.streak(june(9, 10, 12), Goals(), date(2026, 6, 12), was_lived=lambda day: days.was_lived(user, day))
    assert streak == goals.Streak(3, 3)


def test_dates_ahead_of_a_traveller_to_the_west_count() -> None:
    """In Honolulu it is yesterday again, of which Kiritimati has had all."""
    assert goals.streak(june(2), Goals(), JUNE) == goals.Streak(1, 1)
    assert goals.streak(june(1, 2, 3), Goals(), date(2026, 6, 2)) == goals.Streak(3, 3)
    # From 00:30 in Kiritimati it is two dates back to Pago Pago: the one between is not over.
    assert goals.streak(june(1, 3), Goals(), JUNE) == goals.Streak(2, 2)


def test_a_missed_day_ends_a_streak_and_the_longest_stays() -> None:
    assert goals.streak(june(1, 2, 3, 5, 6), Goals(), date(2026, 6, 7)) == goals.Streak(2, 3)
    assert goals.streak(june(1, 2), Goals(), date(2026, 6, 4)) == goals.Streak(0, 2)
    assert goals.streak([], Goals(), JUNE) == goals.Streak(0, 0)


@given(st.sets(st.dates(date(2026, 5, 1), JUNE)))
def test_a_streak_is_the_run_of_dates_that_ends_today_or_yesterday(qualifying: set[date]) -> None:
    day = JUNE if JUNE in qualifying else JUNE - timedelta(days=1)
    length = 0
    while day in qualifying:
        length, day = length + 1, day - timedelta(days=1)
    assert goals.streak(qualifying, Goals(), JUNE).current == length
