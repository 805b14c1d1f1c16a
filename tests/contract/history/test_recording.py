"""From the events of focus sessions to what their user sees."""

import pytest
from focusmesh.history.v1 import archived_session_pb2
from focusmesh.history.v1 import history_service_pb2 as pb

from tests.contract.history.histories import Histories, Time
from tests.support.errors import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY, WEEK, TASK = pb.SUMMARY_GROUP_DAY, pb.SUMMARY_GROUP_WEEK, pb.SUMMARY_GROUP_TASK
MINUTES = 60


async def test_a_finished_session_is_in_the_archive_with_its_tasks_and_figures(
    histories: Histories, time: Time
) -> None:
    user = await histories.user()
    timer = user.session(time.noon(2), titles=["Write", "Draw"])
    timer.after(10 * MINUTES).select(1).after(20 * MINUTES).finish()
    await user.record(timer)
    found = (await user.GetArchivedSession(archived_session_id=timer.id)).archived_session
    assert (found.state, found.outcome) == (
        archived_session_pb2.ARCHIVED_SESSION_STATE_FINISHED,
        archived_session_pb2.ARCHIVED_SESSION_OUTCOME_COMPLETED,
    )
    assert (found.total_focused_seconds, found.total_break_seconds, found.pomodoro_count) == (1500, 300, 1)
    assert [(task.title, task.focused_seconds, task.pomodoro_count) for task in found.tasks] == [
        ("Write", 600, 0),
        ("Draw", 900, 1),
    ]
    assert found.archive_time == found.end_time
    [listed] = (await user.ListArchivedSessions()).archived_sessions
    found.ClearField("tasks")
    assert listed == found
    summary = await user.summary(DAY)
    assert [each.figures for each in summary.buckets] == [summary.total]
    assert (summary.total.focused_seconds, summary.total.pomodoro_count, summary.total.planned_seconds) == (
        1500,
        1,
        1500,
    )
    tasks = (await user.summary(TASK)).buckets
    assert [(each.task_title, each.figures.focused_seconds) for each in tasks] == [
        ("Draw", 900),
        ("Write", 600),
        ("", 0),
    ]


async def test_an_interval_counts_as_soon_as_it_has_ended(histories: Histories, time: Time) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1)).after(26 * MINUTES)
    await user.record(timer)
    assert (await user.summary(DAY)).total.focused_seconds == 1500
    with refused("ARCHIVED_SESSION_NOT_FOUND", archived_session_id=timer.id):
        await user.GetArchivedSession(archived_session_id=timer.id)
    timer.after(4 * MINUTES + 1).resume().after(5 * MINUTES).finish()
    await user.record(timer)
    assert (await user.summary(DAY)).total.focused_seconds == 1800


async def test_events_that_come_again_change_nothing(histories: Histories, time: Time) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1)).after(40 * MINUTES).finish()
    for _ in range(2):
        for event in timer.events:
            await user.apply([event])
    await user.apply(timer.events)
    assert (await user.summary(DAY)).total.focused_seconds == 1500
    assert len((await user.ListArchivedSessions()).archived_sessions) == 1


async def test_deletion_withdraws_a_session_and_undelete_restores_it(histories: Histories, time: Time) -> None:
    user = await histories.user()
    running, over = (
        user.session(time.noon(2)).after(26 * MINUTES),
        user.session(time.noon(1)).after(26 * MINUTES).finish(),
    )
    for timer in (running, over):
        await user.record(timer)
    assert (await user.summary(DAY)).total.focused_seconds == 3000
    for timer in (running, over):
        await user.record(timer.delete())
    assert (await user.summary(DAY)).total.focused_seconds == 0
    assert not (await user.summary(DAY)).buckets
    assert not (await user.ListArchivedSessions()).archived_sessions
    [hidden] = (await user.ListArchivedSessions(show_deleted=True)).archived_sessions
    assert (hidden.id, hidden.HasField("purge_time")) == (over.id, True)
    for timer in (running, over):
        await user.record(timer.after(60).undelete())
    assert (await user.summary(DAY)).total.focused_seconds == 3000
    assert [each.id for each in (await user.ListArchivedSessions()).archived_sessions] == [over.id]


async def test_the_version_of_a_session_does_not_depend_on_the_batches_of_its_events(
    histories: Histories, time: Time
) -> None:
    etags = set()
    for sizes in ([7], [1] * 7, [5, 2], [6, 1], [4, 3]):
        user = await histories.user()
        timer = user.session(time.noon(1)).after(26 * MINUTES).after(300).resume().after(60).finish()
        timer.after(60).delete().after(60).undelete()
        for size in sizes:
            await user.apply(timer.events[:size])
            del timer.events[:size]
        assert not timer.events
        found = (await user.GetArchivedSession(archived_session_id=timer.id)).archived_session
        etags.add((found.etag, found.update_time.seconds - found.end_time.seconds))
    assert len(etags) == 1


async def test_a_session_that_was_paused_for_too_long_joins_the_archive(histories: Histories, time: Time) -> None:
    user = await histories.user()
    timer = user.session(time.noon(40)).after(10 * MINUTES).pause().after(30 * 86400).put_away()
    await user.record(timer)
    found = (await user.GetArchivedSession(archived_session_id=timer.id)).archived_session
    assert (found.state, found.total_focused_seconds) == (archived_session_pb2.ARCHIVED_SESSION_STATE_PAUSED, 600)
    assert found.archive_time.seconds - found.end_time.seconds == 30 * 86400
    assert (await user.summary(DAY)).total.focused_seconds == 600


async def test_a_zone_that_arrives_late_splits_again_what_it_covers(histories: Histories, time: Time) -> None:
    user = await histories.user("UTC")
    late = time.noon(3) + 11 * 3600 * 10**6 + 50 * MINUTES * 10**6  # 23:50
    await user.record(user.session(late).after(26 * MINUTES).finish())
    await user.record(user.session(late - 2 * 86400 * 10**6).after(26 * MINUTES).finish())
    assert [each.figures.focused_seconds for each in (await user.summary(DAY)).buckets] == [600, 900, 600, 900]
    await user.lives("Europe/Berlin", since=late - 3600 * 10**6)
    assert [each.figures.focused_seconds for each in (await user.summary(DAY)).buckets] == [600, 900, 1500]


async def test_another_user_sees_none_of_it(histories: Histories, time: Time) -> None:
    user, other = await histories.user(), await histories.user()
    timer = user.session(time.noon(1)).after(26 * MINUTES).finish()
    await user.record(timer)
    assert not (await other.ListArchivedSessions()).archived_sessions
    assert (await other.summary(DAY)).total.focused_seconds == 0
    with refused("ARCHIVED_SESSION_NOT_FOUND", archived_session_id=timer.id):
        await other.GetArchivedSession(archived_session_id=timer.id)
