"""Summaries, heatmap, goals, streak and export."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import grpc
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from focusmesh.history.v1 import focus_summary_pb2, goals_pb2
from focusmesh.history.v1 import history_service_pb2 as pb
from focusmesh.history.v1.history_service_pb2_grpc import HistoryServiceStub
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.database.pool import Database
from mesh.runtime.clock import DAY, SECOND
from tests.contract.history.histories import Histories, History, Time
from tests.support.errors import refused
from tests.support.tokens import service_token

pytestmark = pytest.mark.asyncio(loop_scope="module")
MINUTES = 60


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


async def worked(user: History, *begins: str, minutes: float = 26, title: str = "Write") -> None:
    """Records sessions of one pomodoro each."""
    for begin in begins:
        await user.record(user.session(instant(begin), titles=[title]).after(minutes * MINUTES).finish())


async def keys(user: History, group: int, of: Callable[[focus_summary_pb2.FocusBucket], object]) -> dict[object, int]:
    """Minutes of each group."""
    return {of(each): each.figures.focused_seconds // 60 for each in (await user.summary(group)).buckets}


async def test_figures_are_grouped_as_asked(histories: Histories) -> None:
    user = await histories.user("Europe/Berlin", week_start="sunday")
    await worked(user, "2026-06-13T21:50", "2026-06-14T08:00", "2026-06-15T08:00", "2026-07-01T08:00")
    await worked(user, "2025-12-31T10:00", title="Read")
    by_date = {
        pb.SUMMARY_GROUP_DAY: {
            "2025-12-31": 25,
            "2026-06-13": 10,
            "2026-06-14": 40,
            "2026-06-15": 25,
            "2026-07-01": 25,
        },
        pb.SUMMARY_GROUP_WEEK: {"2025-12-28": 25, "2026-06-07": 10, "2026-06-14": 65, "2026-06-28": 25},
        pb.SUMMARY_GROUP_MONTH: {"2025-12-01": 25, "2026-06-01": 75, "2026-07-01": 25},
        pb.SUMMARY_GROUP_YEAR: {"2025-01-01": 25, "2026-01-01": 100},
    }
    for group, expected in by_date.items():
        assert await keys(user, group, lambda each: each.date) == expected
    assert await keys(user, pb.SUMMARY_GROUP_HOUR, lambda each: each.hour) == {0: 15, 10: 75, 11: 25, 23: 10}
    weekdays = {
        focus_summary_pb2.DAY_OF_WEEK_MONDAY: 25,
        focus_summary_pb2.DAY_OF_WEEK_WEDNESDAY: 50,
        focus_summary_pb2.DAY_OF_WEEK_SATURDAY: 10,
        focus_summary_pb2.DAY_OF_WEEK_SUNDAY: 40,
    }
    assert await keys(user, pb.SUMMARY_GROUP_WEEKDAY, lambda each: each.weekday) == weekdays
    total = (await user.summary(pb.SUMMARY_GROUP_DAY)).total
    assert (total.focused_seconds, total.pomodoro_count, total.planned_seconds) == (125 * 60, 5, 125 * 60)
    windowed = await user.summary(pb.SUMMARY_GROUP_DAY, "2026-06-14", "2026-06-15")
    assert [each.date for each in windowed.buckets] == ["2026-06-14"]
    assert windowed.total.focused_seconds == 40 * 60


@pytest.mark.parametrize("group", list(pb.SummaryGroup.values())[1:])
async def test_pages_of_a_summary_hold_every_group_once(histories: Histories, group: int) -> None:
    user = await histories.user()
    for index, title in enumerate(("Read", "Write", "Draw")):
        await worked(user, *(f"2026-0{month}-1{index}T0{month}:00" for month in (3, 4, 5)), title=title)
    whole, token, paged = await user.summary(group), "", []
    while True:
        page = await user.summary(group, page_size=1, page_token=token)
        assert page.total == whole.total
        paged += page.buckets
        if not (token := page.next_page_token):
            break
    assert paged == list(whole.buckets)


@pytest.mark.parametrize(
    ("first", "before", "field"),
    [
        ("2026-06-02", "2026-06-01", "before_date"),
        ("2026-06-01", "2026-06-01", "before_date"),
        ("2016-06-01", "2026-06-15", "before_date"),
        ("2026-02-30", "2026-06-01", "from_date"),
    ],
)
async def test_a_window_that_is_none_is_refused(histories: Histories, first: str, before: str, field: str) -> None:
    user = await histories.user()
    with refused("INVALID_REQUEST") as error:
        await user.summary(pb.SUMMARY_GROUP_DAY, first, before)
    assert error.fields == [field]


async def test_a_heatmap_shows_how_each_day_compares_with_the_best(histories: Histories) -> None:
    user = await histories.user()
    await worked(user, "2026-06-01T08:00", "2026-06-02T08:00", "2026-06-02T09:00", "2026-06-02T10:00")
    days = (await user.GetHeatmap(from_date="2026-01-01", before_date="2027-01-01")).days
    assert [(day.date, day.level, day.figures.pomodoro_count) for day in days] == [
        ("2026-06-01", 2, 1),
        ("2026-06-02", 4, 3),
    ]


async def test_goals_are_changed_by_mask_and_measured(histories: Histories, time: Time) -> None:
    user = await histories.user()
    first = await user.GetGoals()
    assert (first.goals.HasField("daily_minutes"), first.today.is_reached) == (False, False)
    mask = FieldMask(paths=["daily_minutes", "weekly_minutes", "days_off", "vacations"])
    vacation = goals_pb2.Vacation(first_date="2026-08-01", last_date="2026-08-14")
    changed = await user.UpdateGoals(
        update_mask=mask,
        etag=first.goals.etag,
        daily_minutes=25,
        weekly_minutes=600,
        days_off=goals_pb2.DaysOff(days=[7, 6]),
        vacations=goals_pb2.Vacations(vacations=[vacation]),
    )
    assert (changed.goals.daily_minutes, list(changed.goals.days_off.days)) == (25, [6, 7])
    await user.record(user.session(time.now() // DAY * DAY).after(26 * MINUTES).finish())
    shown = await user.GetGoals()
    assert shown.goals == changed.goals
    assert (shown.today.focused_seconds, shown.today.is_reached, shown.this_week.is_reached) == (1500, True, False)
    cleared = await user.UpdateGoals(update_mask=FieldMask(paths=["daily_minutes"]))
    assert not cleared.goals.HasField("daily_minutes")
    assert cleared.goals.weekly_minutes == 600
    with refused("VERSION_CONFLICT", etag=cleared.goals.etag):
        await user.UpdateGoals(update_mask=mask, etag=first.goals.etag, daily_minutes=5)


async def test_a_streak_counts_dates_and_today_does_not_break_it(histories: Histories, time: Time) -> None:
    user = await histories.user()
    for days_ago in (1, 2, 3, 5, 6, 7, 8):
        await user.record(user.session(time.noon(days_ago)).after(26 * MINUTES).finish())
    streak = (await user.GetStreak()).streak
    assert (streak.current_days, streak.longest_days, streak.today_qualifies) == (3, 4, False)
    today = date.fromisoformat(streak.today)
    missed = (today - timedelta(days=4)).isoformat()
    vacation = goals_pb2.Vacation(first_date=missed, last_date=missed)
    vacations = goals_pb2.Vacations(vacations=[vacation])
    await user.UpdateGoals(update_mask=FieldMask(paths=["vacations"]), vacations=vacations)
    assert (await user.GetStreak()).streak.current_days == 7
    await user.UpdateGoals(update_mask=FieldMask(paths=["daily_minutes"]), daily_minutes=30)
    assert (await user.GetStreak()).streak.current_days == 0


async def test_the_groups_of_a_summary_add_up_to_its_total_while_sessions_arrive(
    histories: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await histories.user()
    await worked(user, "2026-06-13T08:00")
    execute, arrived = psycopg.AsyncConnection.execute, list[str]()

    async def execute_before_a_session_arrives(connection: Any, query: Any, *of: Any, **options: Any) -> Any:
        cursor = await execute(connection, query, *of, **options)
        if "FROM daily_user_aggregates" in str(query) and not arrived:
            arrived.append("2026-06-14T08:00")
            await worked(user, *arrived)
        return cursor

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", execute_before_a_session_arrives)
    shown = await user.summary(pb.SUMMARY_GROUP_DAY)
    assert arrived
    assert sum(each.figures.focused_seconds for each in shown.buckets) == shown.total.focused_seconds


async def exported(user: History, format_: int) -> str:
    """All pages of an export, one after the other."""
    text, token = "", ""
    while True:
        page = await user.ExportHistory(format=format_, page_size=2, page_token=token)
        text += page.text
        if not (token := page.next_page_token):
            return text


async def test_the_pages_of_an_export_are_one_file(histories: Histories) -> None:
    user = await histories.user()
    begins = [f"2026-06-0{day}T08:00" for day in range(1, 6)]
    await worked(user, *begins, title='Comma, "quote"\nand line')
    rows = list(csv.DictReader(io.StringIO(await exported(user, pb.EXPORT_FORMAT_CSV), newline="")))
    assert [row["start_time"] for row in rows] == [f"{begin}:00Z" for begin in begins]
    assert {row["tasks"] for row in rows} == {'Comma, "quote"\nand line (1500 s)'}
    sessions = json.loads(await exported(user, pb.EXPORT_FORMAT_JSON))
    assert [session["startTime"] for session in sessions] == [f"{begin}:00Z" for begin in begins]
    nobody = await histories.user()
    assert json.loads(await exported(nobody, pb.EXPORT_FORMAT_JSON)) == []
    assert (await exported(nobody, pb.EXPORT_FORMAT_CSV)).count("\n") == 1


async def test_an_operator_computes_the_figures_again(
    histories: Histories, channel: grpc.aio.Channel, operator: Ed25519PrivateKey, db: Database
) -> None:
    user = await histories.user("Europe/Berlin")
    await worked(user, "2026-06-13T21:50", "2026-06-14T08:00")
    before = await user.summary(pb.SUMMARY_GROUP_DAY)
    token = service_token("operator", "history", operator)
    metadata = (("authorization", f"Bearer {token}"),)

    async def rebuild() -> pb.RebuildAggregatesResponse:
        request = pb.RebuildAggregatesRequest(user_id=user.user_id)
        return await HistoryServiceStub(channel).RebuildAggregates(request, metadata=metadata)

    assert await rebuild() == pb.RebuildAggregatesResponse(session_count=2, changed_day_count=0)
    async with db.connection() as connection:
        await connection.execute(
            "UPDATE daily_user_aggregates SET total_pomodoros = 7 WHERE user_id = %s AND date_date = '2026-06-14'",
            (user.user_id,),
        )
        await connection.execute(
            "DELETE FROM daily_user_aggregates WHERE user_id = %s AND date_date = '2026-06-13'", (user.user_id,)
        )
        await connection.execute(
            "INSERT INTO daily_user_aggregates (user_id, date_date, total_pomodoros) VALUES (%s, '2026-06-20', 3)",
            (user.user_id,),
        )
    assert await rebuild() == pb.RebuildAggregatesResponse(session_count=2, changed_day_count=3)
    assert await user.summary(pb.SUMMARY_GROUP_DAY) == before


async def test_a_task_that_two_users_name_has_a_title_of_its_own_for_each(histories: Histories) -> None:
    ann, bob = await histories.user(), await histories.user()
    timer = ann.session(instant("2026-06-01T08:00"), titles=["Write"]).after(26 * MINUTES).finish()
    await ann.record(timer)
    task_id = timer.tasks[0].id
    end = Timestamp(seconds=instant("2026-06-02T09:00") // SECOND)
    start = Timestamp(seconds=end.seconds - 600)
    await bob.AddManualSession(start_time=start, end_time=end, task_title="Bob's", todo_task_id=task_id)
    for user, title in ((ann, "Write"), (bob, "Bob's")):
        first = (await user.summary(pb.SUMMARY_GROUP_TASK)).buckets[0]
        assert (first.task_id, first.task_title) == (task_id, title)
