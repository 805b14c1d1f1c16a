"""Days of a user, and how work is split between them."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import SECOND, to_datetime
from services.history.model import Interval, IntervalKind, Recorded, Span, Zone
from services.history.rules import days, windows
from tests.unit.history.build import at_home, focus, instant, recorded, zones

MINUTE = 60 * SECOND


def minutes(user: tuple[Zone, ...], *sessions: Recorded) -> dict[str, int]:
    """Minutes of work on each date."""
    worked: Counter[str] = Counter()
    for session in sessions:
        for part in days.split(session, user):
            worked[part.local_date.isoformat()] += part.focused_seconds
    return {day: seconds // 60 for day, seconds in worked.items()}


def test_work_around_midnight_is_split_at_midnight() -> None:
    """Case D-days-1."""
    session = recorded(
        focus(("2026-06-10T21:40Z", "2026-06-10T21:50Z"), number=1),
        focus(("2026-06-10T21:55Z", "2026-06-10T22:10Z"), number=3),
    )
    worked = minutes(at_home("Europe/Berlin"), session)
    assert worked == {"2026-06-10": 15, "2026-06-11": 10}
    assert sum(worked.values()) == 25


def test_a_day_of_25_hours_has_each_of_its_hours_once() -> None:
    """Case D-days-2."""
    begins = ("2026-11-01T04:30Z", "2026-11-01T05:30Z", "2026-11-01T06:30Z", "2026-11-02T04:50Z")
    sessions = [recorded(focus((begin, to_datetime(instant(begin) + 25 * MINUTE).isoformat()))) for begin in begins]
    assert minutes(at_home("America/New_York"), *sessions) == {"2026-11-01": 85, "2026-11-02": 15}


def test_a_date_that_a_traveller_has_twice_is_one_date() -> None:
    """Case D-travel-1, the days."""
    user = zones(("2026-01-01", "Asia/Tokyo"), ("2026-06-11T02:00Z", "America/Los_Angeles"))
    begins = ("2026-06-09T00:00Z", "2026-06-10T00:00Z", "2026-06-11T03:00Z", "2026-06-11T17:00Z")
    sessions = [recorded(focus((begin, to_datetime(instant(begin) + 25 * MINUTE).isoformat()))) for begin in begins]
    assert minutes(user, *sessions) == {"2026-06-09": 25, "2026-06-10": 50, "2026-06-11": 25}


def test_a_change_of_zone_splits_an_interval() -> None:
    """Case D-travel-2."""
    user = zones(("2026-01-01T00:00Z", "Asia/Tokyo"), ("2026-06-01T14:55Z", "Europe/Berlin"))
    session = recorded(focus(("2026-06-01T14:45Z", "2026-06-01T15:10Z")))
    assert minutes(user, session) == {"2026-06-01": 25}
    assert [(part.hour, part.focused_seconds) for part in days.split(session, user)] == [
        (16, 300),
        (17, 600),
        (23, 600),
    ]


def test_weeks_are_those_of_the_user_and_not_of_utc() -> None:
    """Case D-sums-1."""
    session = recorded(
        focus(("2026-06-14T11:00Z", "2026-06-14T11:25Z"), number=1),
        focus(("2026-06-14T20:00Z", "2026-06-14T20:50Z"), number=3),
    )
    weeks: Counter[str] = Counter()
    for day, worked in minutes(at_home("Pacific/Auckland"), session).items():
        weeks[windows.week_of(date.fromisoformat(day), "monday").isoformat()] += worked
    assert weeks == {"2026-06-08": 25, "2026-06-15": 50}


def test_from_ten_to_midnight_to_twenty_past_is_two_days_with_the_same_sum() -> None:
    session = recorded(focus(("2026-06-10T23:50Z", "2026-06-11T00:20Z")))
    parts = days.split(session, at_home("UTC"))
    assert {part.local_date.day: part.focused_seconds for part in parts} == {10: 600, 11: 1200}
    assert [part.pomodoro_count for part in parts] == [0, 1]


def test_a_daylight_saving_change_within_a_session_changes_no_second() -> None:
    spring = recorded(focus(("2026-03-29T00:30Z", "2026-03-29T01:30Z")))
    autumn = recorded(focus(("2026-10-25T00:30Z", "2026-10-25T01:30Z")))
    for session in (spring, autumn):
        assert minutes(at_home("Europe/Berlin"), session) == {session_date(session): 60}
    hours = {part.hour: part.focused_seconds for part in days.split(spring, at_home("Europe/Berlin"))}
    assert hours == {1: 1800, 3: 1800}
    hours = {part.hour: part.focused_seconds for part in days.split(autumn, at_home("Europe/Berlin"))}
    assert hours == {2: 3600}


def session_date(session: Recorded) -> str:
    return to_datetime(session.begin_time or 0).date().isoformat()


@pytest.mark.parametrize(
    ("zone", "day", "minutes_after", "begin"),
    [
        ("Europe/Berlin", "2026-06-11", 0, "2026-06-10T22:00Z"),
        ("Europe/Berlin", "2026-06-11", 240, "2026-06-11T02:00Z"),
        # 02:30 is skipped: the day begins with the first instant after the gap, 03:00.
        ("Europe/Berlin", "2026-03-29", 150, "2026-03-29T01:00Z"),
        # 02:30 comes twice: the day begins with the first.
        ("Europe/Berlin", "2026-10-25", 150, "2026-10-25T00:30Z"),
        # Midnight is skipped.
        ("America/Santiago", "2026-09-06", 0, "2026-09-06T04:00Z"),
        # The whole date is skipped: it begins where the next one does.
        ("Pacific/Apia", "2011-12-30", 0, "2011-12-30T10:00Z"),
        ("Pacific/Apia", "2011-12-31", 0, "2011-12-30T10:00Z"),
    ],
)
def test_a_day_begins_at_the_day_start_on_the_wall_clock(zone: str, day: str, minutes_after: int, begin: str) -> None:
    assert days.day_start(zone, minutes_after, date.fromisoformat(day)) == instant(begin)


def test_a_date_that_was_never_lived_is_known() -> None:
    apia = at_home("Pacific/Apia")
    assert [days.was_lived(apia, date(2011, 12, day)) for day in (29, 30, 31)] == [True, False, True]
    # 23:30 on the 10th in Pago Pago is 00:30 on the 12th in Kiritimati.
    traveller = zones(("2026-01-01", "Pacific/Pago_Pago"), ("2026-06-11T10:30Z", "Pacific/Kiritimati"))
    assert [days.was_lived(traveller, date(2026, 6, day)) for day in (10, 11, 12)] == [True, False, True]


def test_a_late_zone_concerns_what_ran_between_it_and_the_next() -> None:
    before = zones(("2026-01-01", "Asia/Tokyo"), ("2026-06-01", "Europe/Berlin"))
    late = zones(("2026-03-01", "America/New_York"))[0]
    after = days.with_zone(before, late)
    assert days.affected(before, after) == [(late.since, before[1].since)]
    first = zones(("2025-01-01", "Asia/Tokyo"))[0]
    assert days.affected(before, days.with_zone(before, first)) == []
    earlier = zones(("2025-01-01", "Europe/Rome"))[0]
    assert days.affected(before, days.with_zone(before, earlier)) == [(None, before[0].since)]
    newest = zones(("2026-08-01", "Europe/Rome"))[0]
    assert days.affected(before, days.with_zone(before, newest)) == [(newest.since, None)]


def test_very_many_zones_are_kept_only_where_they_change_something() -> None:
    home: tuple[Zone, ...] = ()
    for index in range(1000):
        home = days.with_zone(home, Zone(index, "Asia/Tokyo" if index < 500 else "Europe/Berlin", 0))
    assert len(home) <= 200
    assert [days.zone_at(home, at).time_zone for at in (0, 499, 500, 999)] == ["Asia/Tokyo"] * 2 + ["Europe/Berlin"] * 2


def test_of_very_many_places_the_shortest_stay_is_forgotten() -> None:
    months, names = 30 * 86_400 * SECOND, ("Asia/Tokyo", "Europe/Berlin")
    home = tuple(Zone(number * months, names[number % 2], 0) for number in range(100))
    travelled = home
    for number in range(1000):  # now for a second each
        travelled = days.with_zone(travelled, Zone(100 * months + number * SECOND, names[number % 2], 0))
    assert len(travelled) <= 200
    assert set(home) <= set(travelled)


def test_what_ran_in_a_stay_that_is_forgotten_is_split_again() -> None:
    day, names = 86_400 * SECOND, ("Asia/Tokyo", "Europe/Berlin")
    home = tuple(Zone(number * day - (day // 2 if number == 101 else 0), names[number % 2], 0) for number in range(200))
    travelled = days.with_zone(home, Zone(200 * day, names[0], 0))
    forgotten = (home[100].since, home[101].since)
    assert home[100] not in travelled
    assert days.affected(home, travelled) == [forgotten, (200 * day, None)]


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Kiritimati",
    "Pacific/Honolulu",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
)
instants = st.integers(instant("2025-01-01"), instant("2027-01-01"))
travels = st.builds(
    lambda since, names, start: tuple(Zone(at, name, start) for at, name in zip(sorted(since), names, strict=False)),
    st.lists(instants, min_size=5, max_size=5, unique=True),
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=5),
    st.integers(0, 1439),
)


@st.composite
def sessions(draw: st.DrawFn) -> Recorded:
    """Sessions with gaps of any length, worked on two tasks and none."""
    at, intervals = draw(instants), []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        spans = []
        for _ in range(draw(st.integers(0, 3))):
            at += draw(st.integers(0, 3600 * SECOND))
            end = at + draw(st.integers(1, 3600 * SECOND))
            spans.append(Span(at, end, draw(st.sampled_from(["a", "b", None])) if number % 2 else None))
            at = end
        kind = IntervalKind.FOCUS if number % 2 else IntervalKind.SHORT_BREAK
        is_pomodoro = bool(number % 2 and spans and draw(st.booleans()))
        intervals.append(Interval(number, kind, 1500, at, is_pomodoro, tuple(spans)))
    return recorded(*intervals)


@given(travels, sessions())
def test_the_seconds_of_days_hours_and_tasks_add_up_to_those_of_the_session(
    user: tuple[Zone, ...], session: Recorded
) -> None:
    parts = days.split(session, user)
    assert sum(part.focused_seconds for part in parts) == days.whole_seconds(session.intervals)
    worked = [each for each in session.intervals if each.kind == IntervalKind.FOCUS and each.spans]
    assert sum(part.pomodoro_count for part in parts) == sum(each.is_pomodoro for each in worked)
    assert sum(part.planned_seconds for part in parts) == 1500 * len(worked)


@given(travels, instants, st.integers(1, 4 * 3600 * SECOND))
def test_pieces_cover_a_time_and_lie_in_the_hour_and_on_the_date_that_they_name(
    user: tuple[Zone, ...], begin: int, length: int
) -> None:
    at = begin
    for piece in days.pieces(user, begin, begin + length):
        assert piece.begin == at < piece.end
        for inside in (piece.begin, piece.end - 1):
            zone = days.zone_at(user, inside)
            wall = to_datetime(inside).astimezone(ZoneInfo(zone.time_zone))
            assert (wall.hour, days.date_at(user, inside)) == (piece.hour, piece.local_date)
            first = days.day_start(zone.time_zone, zone.day_start_minutes, piece.local_date)
            after = days.day_start(zone.time_zone, zone.day_start_minutes, piece.local_date + timedelta(days=1))
            assert first <= inside < after
        at = piece.end
    assert at == begin + length


@given(st.sampled_from(ZONES), st.integers(0, 1439), st.dates(date(2024, 1, 1), date(2028, 1, 1)))
def test_days_follow_one_another_without_a_gap(zone: str, start: int, day: date) -> None:
    begin = days.day_start(zone, start, day)
    hours = (days.day_start(zone, start, day + timedelta(days=1)) - begin) / (3600 * SECOND)
    assert 22 <= hours <= 26
    assert datetime.fromtimestamp(begin / SECOND, UTC).second == 0


def test_breaks_add_up_to_the_whole_seconds_of_their_session() -> None:
    """Two breaks of 300.6 s are 601 s, as the pomodoro service counts them."""
    begins = [instant("2026-06-01T08:00"), instant("2026-06-01T09:00")]
    session = recorded(
        *(
            Interval(
                number,
                IntervalKind.SHORT_BREAK,
                300,
                begin,
                False,
                (Span(begin, begin + 300 * SECOND + 600_000, None),),
            )
            for number, begin in enumerate(begins, 1)
        )
    )
    parts = days.split(session, at_home("UTC"))
    assert [part.break_seconds for part in parts] == [300, 301]
    assert not any(part.focused_seconds for part in parts)
