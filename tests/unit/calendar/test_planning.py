"""Time that is taken, time that is free, and what fits into it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.recurrence.zones import to_wall
from mesh.runtime.clock import DAY, SECOND, to_datetime
from services.calendar.model import Taken
from services.calendar.rules import planning
from services.calendar.rules.planning import WORKING_HOURS, Hours, Time

ZONE = "Europe/Zurich"
MINUTE = 60 * SECOND
EVERY_DAY = frozenset(range(7))
ZONES = [ZONE, "America/New_York", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe"]
"""Apia left out 30 December 2011; the clocks of Lord Howe go forward by half an hour."""


def instant(text: str) -> int:
    """The instant of a UTC time such as `2026-03-28T01:30`."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def window(begin: str, end: str) -> Time:
    return Time(instant(begin), instant(end))


def shown(times: Iterable[Time]) -> list[tuple[str, str]]:
    """Begin and end of each, as UTC."""
    return [tuple(to_datetime(each).strftime("%d %H:%M") for each in time) for time in times]  # type: ignore[misc]


def hours(start: str, end: str, weekdays: Iterable[int] = EVERY_DAY) -> Hours:
    return Hours(time.fromisoformat(start), time.fromisoformat(end), frozenset(weekdays))


def working(begin: str, end: str, worked: Hours, zone: str = ZONE) -> list[tuple[str, str]]:
    return shown(planning.working_times(window(begin, end), worked, zone))


class TestWorkingTimes:
    """When somebody works, on the wall clock of a zone."""

    def test_they_are_on_the_wall_clock_on_both_sides_of_a_change_of_it(self) -> None:
        # 2026-03-29 is a Sunday; clocks go forward at 01:00 UTC.
        assert working("2026-03-27", "2026-03-31", WORKING_HOURS) == [
            ("27 08:00", "27 16:00"),
            ("30 07:00", "30 15:00"),
        ]

    @pytest.mark.parametrize(
        ("worked", "expected"),
        [
            (hours("22:00", "06:00"), [("27 21:00", "28 05:00"), ("28 21:00", "29 04:00"), ("29 20:00", "30 00:00")]),
            (hours("00:00", "00:00"), [("27 12:00", "30 00:00")]),
            (hours("06:00", "06:00"), [("27 12:00", "30 00:00")]),
            (hours("00:00", "06:00"), [("27 23:00", "28 05:00"), ("28 23:00", "29 04:00"), ("29 22:00", "30 00:00")]),
            (hours("02:30", "05:00"), [("28 01:30", "28 04:00"), ("29 01:30", "29 03:00")]),
            (hours("02:30", "03:15"), [("28 01:30", "28 02:15")]),
            (hours("23:00", "02:30"), [("27 22:00", "28 01:30"), ("28 22:00", "29 01:30"), ("29 21:00", "30 00:00")]),
            (hours("22:00", "06:00", [5]), [("28 21:00", "29 04:00")]),
            (hours("09:00", "17:00", []), []),
        ],
    )
    def test_hours_over_midnight_belong_to_the_day_on_which_they_begin(
        self, worked: Hours, expected: list[tuple[str, str]]
    ) -> None:
        assert working("2026-03-27T12:00", "2026-03-30T00:00", worked) == expected

    def test_of_a_repeated_hour_the_first_counts(self) -> None:
        # Clocks go back at 2026-10-25 01:00 UTC.
        assert working("2026-10-25", "2026-10-26", hours("02:30", "04:00")) == [("25 00:30", "25 03:00")]
        assert working("2026-10-24T23:30", "2026-10-25T20:00", hours("01:00", "02:30")) == [("24 23:30", "25 00:30")]

    def test_a_date_that_a_zone_jumps_over_has_none(self) -> None:
        found = working("2011-12-28T12:00", "2012-01-01T00:00", hours("09:00", "10:00"), "Pacific/Apia")
        assert found == [
            ("28 19:00", "28 20:00"),
            ("29 19:00", "29 20:00"),
            ("30 19:00", "30 20:00"),
            ("31 19:00", "31 20:00"),
        ]
        fridays = working("2011-12-28T12:00", "2012-01-01T00:00", hours("09:00", "10:00", [4]), "Pacific/Apia")
        assert fridays == []

    def test_they_are_cut_at_the_window(self) -> None:
        assert working("2026-03-02T09:30", "2026-03-02T10:00", WORKING_HOURS) == [("02 09:30", "02 10:00")]
        assert working("2026-03-02T16:00", "2026-03-03T08:00", WORKING_HOURS) == []

    @pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
    def test_the_ends_of_time_are_no_error(self, zone: str) -> None:
        assert working("1970-01-01", "1970-01-03", hours("00:00", "00:00"), zone)
        working("9999-12-31T23:59:58", "9999-12-31T23:59:59", hours("00:00", "00:00"), zone)
        working("9999-12-01", "9999-12-31T23:59:59", hours("00:00", "00:00"), zone)


instants = st.integers(0, 40 * 24 * 60).map(lambda minutes: instant("2011-12-01") + minutes * MINUTE)
spans = st.tuples(instants, st.integers(1, 3000)).map(lambda pair: Time(pair[0], pair[0] + pair[1] * MINUTE))
clock_times = st.integers(0, 24 * 12 - 1).map(lambda fives: time(fives // 12, fives % 12 * 5))
some_hours = st.builds(Hours, clock_times, clock_times, st.frozensets(st.integers(0, 6)))


@given(spans, some_hours, st.sampled_from(ZONES))
def test_working_times_are_apart_in_order_and_on_the_wall_clock(span: Time, worked: Hours, zone: str) -> None:
    found = list(planning.working_times(span, worked, zone))
    assert all(span.start <= each.start < each.end <= span.end for each in found)
    assert all(one.end < other.start for one, other in pairwise(found))
    for each in found:
        if each.start != span.start:
            begins = to_wall(each.start, zone)
            assert begins.weekday() in worked.weekdays
            assert begins.time() >= worked.start  # later in a gap


@given(spans, st.lists(spans, max_size=12), some_hours, st.sampled_from(ZONES))
def test_free_and_taken_times_make_up_the_working_hours(span: Time, busy: list[Time], worked: Hours, zone: str) -> None:
    hours_worked = list(planning.working_times(span, worked, zone))
    free = list(chain.from_iterable(planning.free_times(hours_worked, sorted(busy))))
    assert free == sorted(free)
    assert all(each.start < each.end for each in free)
    edges = sorted({each for some in (hours_worked, busy, free) for time in some for each in time})
    for begin, end in pairwise(edges):
        part = Time(begin, end)
        assert within(part, free) == (within(part, hours_worked) and not within(part, busy))
    for one, other in pairwise(free):  # no free time is shown in two
        assert one.end < other.start


def within(part: Time, times: Sequence[Time]) -> bool:
    return any(each.start <= part.start and part.end <= each.end for each in times)


@given(st.lists(spans, max_size=8), st.integers(7, 1440), st.integers(0, 30))
def test_blocks_are_as_many_as_fit_into_the_times(times: list[Time], minutes: int, most: int) -> None:
    length = minutes * MINUTE
    blocks = planning.fitting(times, length, 10_000, in_blocks=True)
    assert len(blocks) == sum((each.end - each.start) // length for each in times)
    assert all(each.end - each.start == length and within(each, times) for each in blocks)
    whole = planning.fitting(times, length, most, in_blocks=False)
    assert list(whole) == [each for each in times if each.end - each.start >= length][:most]


class TestFreeTimes:
    """What nothing takes."""

    WORKED = Time(instant("2026-03-02T08:00"), instant("2026-03-02T16:00"))

    @pytest.mark.parametrize(
        ("taken", "expected"),
        [
            ([], [("08:00", "16:00")]),
            ([("08:00", "09:00")], [("09:00", "16:00")]),
            ([("07:00", "08:00")], [("08:00", "16:00")]),
            ([("16:00", "17:00")], [("08:00", "16:00")]),
            ([("10:00", "11:00")], [("08:00", "10:00"), ("11:00", "16:00")]),
            ([("09:00", "12:00"), ("10:00", "11:00")], [("08:00", "09:00"), ("12:00", "16:00")]),
            ([("10:00", "11:00"), ("11:00", "12:00")], [("08:00", "10:00"), ("12:00", "16:00")]),
            ([("00:00", "23:00")], []),
        ],
    )
    def test_it_is_half_open(self, taken: list[tuple[str, str]], expected: list[tuple[str, str]]) -> None:
        busy = [window(f"2026-03-02T{begin}", f"2026-03-02T{end}") for begin, end in taken]
        found = chain.from_iterable(planning.free_times([self.WORKED], busy))
        assert [(begin[3:], end[3:]) for begin, end in shown(found)] == expected


class TestStarts:
    """Where a focus block begins in a free time."""

    @pytest.mark.parametrize(
        ("begin", "end", "minutes", "expected"),
        [
            ("2026-03-02T08:00:00", "2026-03-02T08:25", 25, "02 08:00"),
            ("2026-03-02T08:00:01", "2026-03-02T08:26", 25, "02 08:01"),
            ("2026-03-02T08:00:01", "2026-03-02T08:25", 25, None),
            # Clocks go back at 2026-10-25 01:00 UTC: 02:00 to 03:00 come a second time until 02:00 UTC.
            ("2026-10-25T00:40", "2026-10-25T03:00", 25, "25 00:40"),
            ("2026-10-25T01:10", "2026-10-25T03:00", 25, "25 02:00"),
            ("2026-10-25T01:10", "2026-10-25T02:20", 25, None),
        ],
    )
    def test_it_is_on_a_full_minute_that_the_wall_clock_shows_for_the_first_time(
        self, begin: str, end: str, minutes: int, expected: str | None
    ) -> None:
        starts = planning.starts([window(begin, end)], minutes * MINUTE, ZONE)
        assert [to_datetime(start).strftime("%d %H:%M") for start in starts] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("estimated", "done", "minutes"),
    [(0, 0, 25), (1, 0, 25), (3, 1, 50), (4, 0, 100), (5, 0, 120), (2, 2, 25), (2, 9, 25)],
)
def test_a_task_needs_what_is_left_of_its_estimate(estimated: int, done: int, minutes: int) -> None:
    assert planning.minutes_needed(estimated, done) == minutes


NOW = 1_000 * DAY


@pytest.mark.parametrize(
    ("start", "end", "due", "expected"),
    [
        (None, None, None, Time(NOW, NOW + 14 * DAY)),
        (None, None, NOW + DAY, Time(NOW, NOW + DAY)),
        (None, None, NOW - DAY, Time(NOW, NOW + 14 * DAY)),
        (None, None, NOW + 400 * DAY, Time(NOW, NOW + 62 * DAY)),
        (NOW - DAY, NOW + DAY, NOW + 5 * DAY, Time(NOW, NOW + DAY)),
        (NOW + DAY, NOW + 2 * DAY, None, Time(NOW + DAY, NOW + 2 * DAY)),
        (NOW + 3 * DAY, None, NOW + 2 * DAY, Time(NOW + 3 * DAY, NOW + 17 * DAY)),
    ],
)
def test_a_focus_block_is_looked_for_ahead(start: int | None, end: int | None, due: int | None, expected: Time) -> None:
    assert planning.window_to_plan(NOW, start, end, due) == expected


takens = st.builds(
    lambda span, event, slot: Taken(span.start, event, slot, span.end),
    st.tuples(instants, st.integers(0, 3000)).map(lambda pair: Time(pair[0], pair[0] + pair[1] * MINUTE)),
    st.sampled_from(["a", "b", "c"]),
    st.uuids().map(str),
)


@given(st.lists(takens, max_size=12))
def test_conflicts_are_the_pairs_that_share_time_in_order(taken: list[Taken]) -> None:
    ordered = sorted(taken)
    found = list(planning.conflicts(ordered))
    assert len(found) == len(ordered)
    pairs = list(chain.from_iterable(found))
    assert pairs == sorted(pairs)
    expected = {
        (other, one)
        for index, other in enumerate(ordered)
        for one in ordered[:index]
        if max(one.start, other.start) < min(one.end, other.end)  # which is never so of one that takes no time
    }
    assert (set(pairs), len(pairs)) == (expected, len(expected))
