"""Days of users as they see them: around midnight, at daylight saving changes, and across the date line."""

from datetime import UTC, datetime

import pytest
from focusmesh.history.v1 import history_service_pb2 as pb

from mesh.runtime.clock import SECOND
from tests.contract.history.histories import Histories, Time

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY, HOUR = pb.SUMMARY_GROUP_DAY, pb.SUMMARY_GROUP_HOUR
MINUTES, HOURS = 60, 3600


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


async def test_a_session_from_ten_to_midnight_is_split_over_two_days_and_its_sum_is_unchanged(
    histories: Histories,
) -> None:
    user = await histories.user()
    timer = user.session(instant("2026-06-10T23:50"), duration_pomodoro_minutes=30).after(31 * MINUTES).finish()
    await user.record(timer)
    summary = await user.summary(DAY)
    assert {each.date: each.figures.focused_seconds for each in summary.buckets} == {
        "2026-06-10": 10 * MINUTES,
        "2026-06-11": 20 * MINUTES,
    }
    found = (await user.GetArchivedSession(archived_session_id=timer.id)).archived_session
    assert summary.total.focused_seconds == found.total_focused_seconds == 30 * MINUTES
    assert [each.figures.pomodoro_count for each in summary.buckets] == [0, 1]


@pytest.mark.parametrize(
    ("begin", "hours"),
    [("2026-03-29T00:30", {1: 1800, 3: 1800}), ("2026-10-25T00:30", {2: 3600})],
)
async def test_a_daylight_saving_change_within_a_session_changes_no_second(
    histories: Histories, begin: str, hours: dict[int, int]
) -> None:
    user = await histories.user("Europe/Berlin")
    await user.record(user.session(instant(begin), duration_pomodoro_minutes=60).after(61 * MINUTES).finish())
    [day] = (await user.summary(DAY)).buckets
    assert (day.date, day.figures.focused_seconds, day.figures.pomodoro_count) == (begin[:10], 3600, 1)
    found = {each.hour: each.figures.focused_seconds for each in (await user.summary(HOUR)).buckets}
    assert {hour: seconds for hour, seconds in found.items() if seconds} == hours


async def test_from_kiritimati_to_honolulu_and_back_the_streak_goes_on(histories: Histories, time: Time) -> None:
    user = await histories.user("Pacific/Kiritimati")
    # Noon in UTC is 02:00 in both, in Kiritimati on the next date.
    worked = [time.noon(6), time.noon(5), time.noon(5) + 12 * HOURS * SECOND, *map(time.noon, (4, 3, 2))]
    worked += [time.noon(2) + 12 * HOURS * SECOND, time.noon(1)]
    for begin in worked[:2]:
        await user.record(user.session(begin).after(26 * MINUTES).finish())
    await user.lives("Pacific/Honolulu", since=time.noon(5) + 2 * HOURS * SECOND)
    for begin in worked[2:6]:
        await user.record(user.session(begin).after(26 * MINUTES).finish())
    await user.lives("Pacific/Kiritimati", since=time.noon(2) + 2 * HOURS * SECOND)
    for begin in worked[6:]:
        await user.record(user.session(begin).after(26 * MINUTES).finish())
    days = {each.date: each.figures.pomodoro_count for each in (await user.summary(DAY)).buckets}
    assert list(days.values()) == [2, 2, 1, 1, 1, 1]
    assert (await user.GetStreak()).streak.current_days == 6
