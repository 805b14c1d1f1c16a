"""Planned against actual: what was planned is stored when its time is over or was begun, and never rewritten."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from focusmesh.history.v1 import plan_summary_pb2

from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from tests.contract.history.histories import Histories, History
from tests.support import user_events
from tests.support.calendar_events import TOPIC, PlannedEvent
from tests.support.errors import refused
from tests.support.focus_events import Timer

pytestmark = pytest.mark.asyncio(loop_scope="module")
MONDAY, TUESDAY, NEXT_MONDAY = "2026-06-01T09:00:00", "2026-06-02T09:00:00", "2026-06-08T09:00:00"
OCCURRENCE, EVENT, SERIES, WEEK = list(plan_summary_pb2.PlanGroup.values())[1:]


async def plan(user: History, group: int, first: str = "2026-06-01", before: str = "2027-06-01", **more: Any) -> Any:
    return await user.SummarizePlan(group=group, from_date=first, before_date=before, **more)


async def occurrence(user: History) -> plan_summary_pb2.PlanBucket:
    """The only one."""
    [bucket] = (await plan(user, OCCURRENCE)).buckets
    found: plan_summary_pb2.PlanBucket = bucket
    return found


async def worked(user: History, slot: str, minutes: int) -> Timer:
    """A session that began at a slot and went on for so long."""
    begin = int(datetime.fromisoformat(f"{slot}+00:00").astimezone(UTC).timestamp()) * SECOND
    timer = user.session(begin).after(minutes * 60).finish()
    await user.record(timer)
    return timer


def figures(message: plan_summary_pb2.PlanFigures) -> tuple[int, ...]:
    """Planned, planned minutes, started, completed, never started, seconds worked."""
    return (
        *(message.planned_count, message.planned_minutes, message.started_count),
        *(message.completed_count, message.never_started_count, message.focused_seconds),
    )


async def test_a_slot_that_passed_was_planned_and_never_started(histories: Histories) -> None:
    user = await histories.user("Europe/Berlin")
    event = PlannedEvent(user.user_id)
    await user.apply([event.happens("event-created"), event.happens("occurrence-ended", MONDAY)], TOPIC)
    shown = await occurrence(user)
    assert (shown.date, shown.event_id, shown.series_id, shown.slot) == ("2026-06-01", event.id, event.id, MONDAY)
    assert (shown.title, shown.state, shown.HasField("focus_session_id")) == (
        "Write",
        plan_summary_pb2.PLAN_STATE_PLANNED,
        False,
    )
    assert shown.planned_start_time.ToDatetime().isoformat() == MONDAY
    assert figures(shown.figures) == (1, 50, 0, 0, 1, 0)


async def test_an_occurrence_is_compared_with_the_work_of_its_session(histories: Histories) -> None:
    user = await histories.user()
    event, timer = PlannedEvent(user.user_id), await worked(user, MONDAY, 30)
    session = {"focus_session_id": timer.id}
    await user.apply([event.happens("occurrence-started", MONDAY, **session)], TOPIC)
    assert figures((await occurrence(user)).figures) == (1, 50, 1, 0, 0, 25 * 60)
    await user.apply([event.happens("occurrence-completed", MONDAY, status="completed", **session)], TOPIC)
    await user.apply([event.happens("occurrence-ended", MONDAY, status="completed", **session)], TOPIC)
    shown = await occurrence(user)
    assert (shown.state, shown.focus_session_id) == (plan_summary_pb2.PLAN_STATE_COMPLETED, timer.id)
    assert figures(shown.figures) == (1, 50, 1, 1, 0, 25 * 60)


@pytest.mark.parametrize("first", ["occurrence-started", "occurrence-ended"])
@pytest.mark.parametrize("together", [True, False])
async def test_what_was_planned_is_never_rewritten(histories: Histories, first: str, together: bool) -> None:
    user = await histories.user()
    event, session = PlannedEvent(user.user_id), {"focus_session_id": new_id()}
    moved = {"start_time": datetime(2026, 6, 5, 9, tzinfo=UTC), "planned_minutes": 5, "title": "Another"}
    happened = [
        event.happens("occurrence-moved", MONDAY, planned_minutes=40),
        event.happens(first, MONDAY, planned_minutes=40, **session),
        event.happens("occurrence-moved", MONDAY, **moved, **session),
        event.happens("occurrence-started", MONDAY, **moved, **session),
        event.happens("occurrence-ended", MONDAY, **moved, **session),
        event.happens("event-deleted"),
    ]
    for batch in [happened] if together else [[each] for each in happened]:
        await user.apply(batch, TOPIC)
    shown = await occurrence(user)
    assert (shown.date, shown.title, shown.figures.planned_minutes) == ("2026-06-01", "Write", 40)


async def test_the_service_may_not_rewrite_what_was_planned(histories: Histories, history_url: str) -> None:
    user = await histories.user()
    await user.apply([PlannedEvent(user.user_id).happens("occurrence-ended", MONDAY)], TOPIC)
    with psycopg.connect(history_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE planned_occurrences SET planned_minutes = 1")


async def test_an_occurrence_that_is_planned_only_is_no_history(histories: Histories) -> None:
    user = await histories.user()
    event = PlannedEvent(user.user_id)
    kinds = ("event-created", "event-updated", "event-deleted")
    happened = [*map(event.happens, kinds), event.happens("occurrence-moved", MONDAY)]
    done = event.happens("occurrence-completed", TUESDAY, status="completed")
    await user.apply([*happened, event.happens("occurrence-cancelled", MONDAY, status="cancelled"), done], TOPIC)
    answer = await plan(user, OCCURRENCE)
    assert (list(answer.buckets), figures(answer.total)) == ([], (0,) * 6)
    await user.apply([event.happens("occurrence-ended", TUESDAY, status="completed")], TOPIC)
    assert figures((await occurrence(user)).figures) == (1, 50, 0, 1, 0, 0)


async def test_a_whole_day_counts_only_when_it_was_started(histories: Histories) -> None:
    user = await histories.user()
    day = PlannedEvent(user.user_id, is_all_day=True)
    await user.apply([day.happens("occurrence-ended", slot, planned_minutes=1440) for slot in (MONDAY, TUESDAY)], TOPIC)
    assert figures((await plan(user, WEEK)).total) == (0,) * 6
    await user.apply(
        [day.happens("occurrence-started", MONDAY, planned_minutes=1440, focus_session_id=new_id())], TOPIC
    )
    assert figures((await plan(user, WEEK)).total) == (1, 1440, 1, 0, 0, 0)


async def test_a_session_that_was_abandoned_or_deleted_leaves_its_occurrence_never_started(
    histories: Histories,
) -> None:
    user = await histories.user()
    event, timer = PlannedEvent(user.user_id), await worked(user, MONDAY, 30)
    await user.apply([event.happens("occurrence-started", MONDAY, focus_session_id=timer.id)], TOPIC)
    await user.apply([event.happens("event-updated", MONDAY)], TOPIC)
    shown = await occurrence(user)
    assert (shown.HasField("focus_session_id"), figures(shown.figures)) == (False, (1, 50, 0, 0, 1, 0))


async def test_a_cancelled_occurrence_that_was_started_is_not_missed(histories: Histories) -> None:
    user = await histories.user()
    event = PlannedEvent(user.user_id)
    await user.apply([event.happens("occurrence-ended", MONDAY)], TOPIC)
    await user.apply([event.happens("occurrence-cancelled", MONDAY, status="cancelled")], TOPIC)
    assert (await occurrence(user)).state == plan_summary_pb2.PLAN_STATE_CANCELLED
    assert figures((await occurrence(user)).figures) == (1, 50, 0, 0, 0, 0)


@pytest.mark.parametrize("together", [True, False])
async def test_an_occurrence_that_was_started_before_an_edit_gave_it_another_event_counts_once(
    histories: Histories, together: bool
) -> None:
    user = await histories.user()
    before, timer = PlannedEvent(user.user_id), await worked(user, MONDAY, 30)
    after = PlannedEvent(user.user_id, series_id=before.id)
    session = {"focus_session_id": timer.id}
    happened = [
        before.happens("occurrence-started", MONDAY, **session),
        after.happens("occurrence-completed", "2026-06-01T10:00:00", status="completed", **session),
        after.happens("occurrence-ended", "2026-06-01T10:00:00", status="completed", **session),
    ]
    for batch in [happened] if together else [[each] for each in happened]:
        await user.apply(batch, TOPIC)
    shown = await occurrence(user)
    assert (shown.event_id, shown.slot, figures(shown.figures)) == (before.id, MONDAY, (1, 50, 1, 1, 0, 25 * 60))


async def test_what_was_told_last_of_a_session_stands_though_its_occurrence_had_another_slot_before(
    histories: Histories,
) -> None:
    user = await histories.user()
    before = PlannedEvent(user.user_id)
    after = PlannedEvent(user.user_id, series_id=before.id)
    session = {"focus_session_id": new_id()}
    started = before.happens("occurrence-started", MONDAY, **session)
    completed = after.happens("occurrence-completed", "2026-06-01T10:00:00", status="completed", **session)
    await user.apply([started, completed], TOPIC)
    assert (await occurrence(user)).state == plan_summary_pb2.PLAN_STATE_COMPLETED


@pytest.mark.parametrize("together", [True, False])
async def test_an_occurrence_counts_once_when_it_loses_its_session_after_an_edit_gave_it_another_event(
    histories: Histories, together: bool
) -> None:
    user = await histories.user()
    before = PlannedEvent(user.user_id)
    after = PlannedEvent(user.user_id, series_id=before.id)
    happened = [
        before.happens("occurrence-started", MONDAY, focus_session_id=new_id()),
        after.happens("event-created"),
        after.happens("event-updated", MONDAY),
        after.happens("occurrence-ended", MONDAY),
    ]
    for batch in [happened] if together else [[each] for each in happened]:
        await user.apply(batch, TOPIC)
    shown = await occurrence(user)
    assert (shown.event_id, shown.HasField("focus_session_id")) == (before.id, False)
    assert figures(shown.figures) == (1, 50, 0, 0, 1, 0)


@pytest.mark.parametrize("together", [True, False])
async def test_an_occurrence_that_ended_and_is_done_late_as_one_of_another_event_counts_once(
    histories: Histories, together: bool
) -> None:
    user = await histories.user()
    before, timer = PlannedEvent(user.user_id), await worked(user, MONDAY, 30)
    after = PlannedEvent(user.user_id, series_id=before.id)
    session = {"focus_session_id": timer.id}
    happened = [
        before.happens("occurrence-ended", MONDAY),
        after.happens("occurrence-started", MONDAY, **session),
        after.happens("occurrence-completed", MONDAY, status="completed", **session),
    ]
    for batch in [happened] if together else [[each] for each in happened]:
        await user.apply(batch, TOPIC)
    assert figures((await occurrence(user)).figures) == (1, 50, 1, 1, 0, 25 * 60)


async def some_plans(user: History) -> tuple[PlannedEvent, PlannedEvent, PlannedEvent]:
    """A series of two events, of which one occurrence was worked on, and another event."""
    write, read = PlannedEvent(user.user_id), PlannedEvent(user.user_id, title="Read")
    write_on = PlannedEvent(user.user_id, series_id=write.id, title="Write on")
    timer = await worked(user, MONDAY, 30)
    ended = [
        write.happens("occurrence-started", MONDAY, focus_session_id=timer.id),
        write.happens("occurrence-ended", TUESDAY),
        write_on.happens("occurrence-ended", NEXT_MONDAY, planned_minutes=10),
        read.happens("occurrence-ended", "2026-06-07T23:00:00", planned_minutes=30),
    ]
    for each in ended:
        await user.apply([each], TOPIC)
    return write, write_on, read


async def test_plans_are_grouped_as_asked(histories: Histories) -> None:
    user = await histories.user("Europe/Berlin")
    write, write_on, read = await some_plans(user)

    async def groups(group: int, of: Callable[[plan_summary_pb2.PlanBucket], object]) -> list[object]:
        return [(of(each), *figures(each.figures)) for each in (await plan(user, group)).buckets]

    worked_on = (50, 1, 0)
    assert await groups(OCCURRENCE, lambda each: (each.event_id, each.slot, each.date)) == [
        ((write.id, MONDAY, "2026-06-01"), 1, *worked_on, 0, 1500),
        ((write.id, TUESDAY, "2026-06-02"), 1, 50, 0, 0, 1, 0),
        ((read.id, "2026-06-07T23:00:00", "2026-06-08"), 1, 30, 0, 0, 1, 0),
        ((write_on.id, NEXT_MONDAY, "2026-06-08"), 1, 10, 0, 0, 1, 0),
    ]
    assert await groups(EVENT, lambda each: (each.event_id, each.series_id, each.title)) == [
        ((write.id, write.id, "Write"), 2, 100, 1, 0, 1, 1500),
        ((read.id, read.id, "Read"), 1, 30, 0, 0, 1, 0),
        ((write_on.id, write.id, "Write on"), 1, 10, 0, 0, 1, 0),
    ]
    assert await groups(SERIES, lambda each: (each.event_id, each.series_id, each.title)) == [
        (("", write.id, "Write on"), 3, 110, 1, 0, 2, 1500),
        (("", read.id, "Read"), 1, 30, 0, 0, 1, 0),
    ]
    assert await groups(WEEK, lambda each: (each.date, each.title)) == [
        (("2026-06-01", ""), 2, 100, 1, 0, 1, 1500),
        (("2026-06-08", ""), 2, 40, 0, 0, 2, 0),
    ]
    assert figures((await plan(user, WEEK)).total) == (4, 140, 1, 0, 3, 1500)
    windowed = await plan(user, WEEK, "2026-06-02", "2026-06-08")
    assert figures(windowed.total) == (1, 50, 0, 0, 1, 0)


async def test_weeks_begin_when_those_of_the_user_do(histories: Histories) -> None:
    user = await histories.user(week_start="sunday")
    await some_plans(user)
    assert [each.date for each in (await plan(user, WEEK)).buckets] == ["2026-05-31", "2026-06-07"]


@pytest.mark.parametrize("group", list(plan_summary_pb2.PlanGroup.values())[1:])
async def test_pages_of_plans_hold_every_group_once(histories: Histories, group: int) -> None:
    user = await histories.user()
    await some_plans(user)
    whole, token, paged = await plan(user, group), "", []
    while True:
        page = await plan(user, group, page_size=1, page_token=token)
        assert page.total == whole.total
        paged += page.buckets
        if not (token := page.next_page_token):
            break
    assert paged == list(whole.buckets)


async def test_a_zone_that_is_learnt_of_later_dates_what_was_planned_in_it_again(histories: Histories) -> None:
    user = await histories.user("UTC")
    event = PlannedEvent(user.user_id)
    await user.apply([event.happens("occurrence-ended", f"2026-06-0{day}T20:00:00") for day in (1, 2, 3)], TOPIC)
    since = int(datetime(2026, 6, 2, tzinfo=UTC).timestamp()) * SECOND
    await user.lives("Asia/Tokyo", since=since)
    dates = [each.date for each in (await plan(user, OCCURRENCE)).buckets]
    assert dates == ["2026-06-01", "2026-06-03", "2026-06-04"]


async def test_a_user_sees_their_own_plans_only_and_none_after_the_account_is_gone(
    histories: Histories, history_url: str
) -> None:
    user, other = await histories.user(), await histories.user()
    event = PlannedEvent(user.user_id)
    await user.apply([event.happens("occurrence-ended", MONDAY)], TOPIC)
    assert not (await plan(other, OCCURRENCE)).buckets
    await user.apply([user_events.a_user_event(user.user_id, "user-deleted", version=99)], user_events.TOPIC)
    await user.apply([event.happens("occurrence-ended", TUESDAY)], TOPIC)
    with psycopg.connect(history_url) as connection:
        statement = "SELECT FROM planned_occurrences WHERE user_id = %s::uuid"
        assert connection.execute(statement, (user.user_id,)).fetchall() == []


@pytest.mark.parametrize(
    ("first", "before", "field"),
    [("2026-06-02", "2026-06-02", "before_date"), ("2026-06-01", "2027-06-08", "before_date")],
)
async def test_a_window_of_plans_that_is_none_or_too_long_is_refused(
    histories: Histories, first: str, before: str, field: str
) -> None:
    user = await histories.user()
    with refused("INVALID_REQUEST") as error:
        await plan(user, WEEK, first, before)
    assert error.fields == [field]
