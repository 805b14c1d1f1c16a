"""What users correct in their history, and what is published of it."""

from typing import Any

import orjson
import pytest
from focusmesh.history.events.v1.archived_session_event_pb2 import ArchivedSessionSnapshot, ArchivedTaskSnapshot
from focusmesh.history.v1 import archived_session_pb2
from focusmesh.history.v1 import history_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.database.pool import Database
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.history.handlers import rebuild
from services.history.store import people
from services.pomodoro.events import session_claimed
from services.pomodoro.model import Act
from services.pomodoro.rules import claims
from tests.contract.history.histories import Histories, History, Time, add, timestamp
from tests.support.errors import refused
from tests.support.focus_events import Timer

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = pb.SUMMARY_GROUP_DAY
MINUTES = 60


async def published(db: Database, session_id: str) -> list[dict[str, Any]]:
    """The events of a session that wait in the outbox."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox ORDER BY seq")
        events = [orjson.loads(value) for (value,) in await cursor.fetchall()]
    return [event for event in events if event["subject"] == session_id]


async def worked(user: History) -> int:
    total: int = (await user.summary(DAY)).total.focused_seconds
    return total


async def test_a_session_that_was_added_by_hand_counts_like_a_recorded_one(
    histories: Histories, time: Time, db: Database
) -> None:
    user = await histories.user()
    todo_task_id = new_id()
    made = await add(user, time.noon(1), title="Read", task_title="A book", todo_task_id=todo_task_id, is_pomodoro=True)
    assert (made.is_manual, made.total_focused_seconds, made.pomodoro_count) == (True, 1800, 1)
    assert (made.outcome, made.archive_time) == (
        archived_session_pb2.ARCHIVED_SESSION_OUTCOME_COMPLETED,
        made.end_time,
    )
    assert (await user.GetArchivedSession(archived_session_id=made.id)).archived_session == made
    [bucket] = (await user.summary(pb.SUMMARY_GROUP_TASK)).buckets
    assert (bucket.task_id, bucket.task_title, bucket.figures.focused_seconds) == (todo_task_id, "A book", 1800)
    [event] = await published(db, made.id)
    assert (event["type"], event["source"], event["partitionkey"]) == (
        "archived-session-added",
        "/focusmesh/history",
        user.user_id,
    )
    payload = event["data"]["payload"]
    assert list(payload) == [field.name for field in ArchivedSessionSnapshot.DESCRIPTOR.fields]
    assert list(payload["tasks"][0]) == [field.name for field in ArchivedTaskSnapshot.DESCRIPTOR.fields]
    assert (payload["tasks"][0]["todo_task_id"], payload["tasks"][0]["focused_seconds"]) == (todo_task_id, 1800)


async def test_adding_a_session_twice_with_one_request_id_adds_one(histories: Histories, time: Time) -> None:
    user = await histories.user()
    request_id = new_id()
    first, again = [await add(user, time.noon(1), request_id=request_id) for _ in range(2)]
    assert first == again
    assert await worked(user) == 1800


async def test_no_second_counts_twice(histories: Histories, time: Time) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1)).after(10 * MINUTES).pause().after(30 * MINUTES).resume().after(MINUTES).finish()
    await user.record(timer)
    with refused("TIME_OVERLAPS", archived_session_id=timer.id):
        await add(user, time.noon(1) - 600 * SECOND)
    made = await add(user, time.noon(1) + 600 * SECOND)  # while it was paused
    with refused("TIME_OVERLAPS", archived_session_id=timer.id):
        mask = FieldMask(paths=["start_time"])
        start = timestamp(time.noon(1) + 599 * SECOND)
        await user.UpdateArchivedSession(archived_session_id=made.id, update_mask=mask, start_time=start)
    await user.DeleteArchivedSession(archived_session_id=timer.id)
    await add(user, time.noon(1) - 1200 * SECOND)
    with refused("TIME_IN_FUTURE") as error:
        await add(user, time.now() - 60 * SECOND)
    assert error.fields == ["end_time"]
    with refused("TIME_IN_COLD_STORAGE"):
        await add(user, time.noon(500))


async def rebuilt(db: Database, user: History) -> int:
    """How many days differ when the figures of a user are made again."""
    async with db.transaction() as tx:
        _, differing = await rebuild(tx, (await people.lock(tx, [user.user_id]))[user.user_id])
    return differing


@pytest.mark.parametrize(
    ("begin", "minutes", "left", "outcome"),
    [
        (5, 10, 15, archived_session_pb2.ARCHIVED_SESSION_OUTCOME_PARTIAL),
        (-5, 10, 20, archived_session_pb2.ARCHIVED_SESSION_OUTCOME_COMPLETED),
        (20, 60, 20, archived_session_pb2.ARCHIVED_SESSION_OUTCOME_COMPLETED),
        (-5, 60, 0, archived_session_pb2.ARCHIVED_SESSION_OUTCOME_ABANDONED),
        (25, 5, 25, archived_session_pb2.ARCHIVED_SESSION_OUTCOME_COMPLETED),
    ],
)
async def test_an_interval_counts_without_what_was_added_by_hand_before_it_ended(
    histories: Histories, time: Time, db: Database, begin: int, minutes: int, left: int, outcome: int
) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1), titles=["Write"])
    await user.record(timer)
    await add(user, time.noon(1) + begin * MINUTES * SECOND, minutes * MINUTES)
    await user.record(timer.after(26 * MINUTES))
    assert await worked(user) == (left + minutes) * MINUTES
    await user.record(timer.finish())
    assert (await worked(user), await rebuilt(db, user)) == ((left + minutes) * MINUTES, 0)
    found = (await user.GetArchivedSession(archived_session_id=timer.id)).archived_session
    assert (found.total_focused_seconds, found.tasks[0].focused_seconds, found.outcome) == (
        *[left * MINUTES] * 2,
        outcome,
    )
    # Others have heard from the pomodoro service that all of it was worked.
    counted = [event["data"]["payload"]["total_focused_seconds"] for event in await published(db, timer.id)]
    assert counted == ([] if left == 25 else [left * MINUTES])


async def test_focus_time_that_is_taken_out_leaves_every_break(histories: Histories, time: Time, db: Database) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1))
    await user.record(timer.after(20 * MINUTES).rest(10 * MINUTES))
    await add(user, time.noon(1), 1)
    await user.record(timer.after(15 * MINUTES).after(5 * MINUTES).finish())
    found = (await user.GetArchivedSession(archived_session_id=timer.id)).archived_session
    [event] = await published(db, timer.id)
    for figures in (found.total_break_seconds, event["data"]["payload"]["total_break_seconds"]):
        assert figures == (10 + 5) * MINUTES
    assert (found.short_break_count, found.total_focused_seconds) == (1, 25 * MINUTES - 1)


async def test_a_session_by_hand_that_is_deleted_in_time_takes_nothing(histories: Histories, time: Time) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1))
    made = await add(user, time.noon(1), 600)
    await user.record(timer.after(26 * MINUTES))
    assert await worked(user) == 25 * MINUTES
    await user.DeleteArchivedSession(archived_session_id=made.id)
    await user.record(timer.finish())
    assert await worked(user) == 25 * MINUTES
    with refused("TIME_OVERLAPS", archived_session_id=timer.id):
        await user.UndeleteArchivedSession(archived_session_id=made.id)


async def test_a_session_that_is_undeleted_elsewhere_counts_without_what_was_added_by_hand(
    histories: Histories, time: Time, db: Database
) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1), titles=["Write"]).after(26 * MINUTES).finish()
    await user.record(timer)
    await user.record(timer.after(60).delete())
    await add(user, time.noon(1) + 300 * SECOND, 600)
    await user.record(timer.after(60).undelete())
    assert (await worked(user), await rebuilt(db, user)) == (25 * MINUTES, 0)
    found = (await user.GetArchivedSession(archived_session_id=timer.id)).archived_session
    assert (found.total_focused_seconds, found.tasks[0].focused_seconds, found.pomodoro_count) == (900, 900, 0)


@pytest.mark.parametrize("is_finished", [True, False])
async def test_a_session_of_a_claimed_guest_counts_without_what_was_added_by_hand(
    histories: Histories, time: Time, db: Database, *, is_finished: bool
) -> None:
    user = await histories.user()
    guest = Timer(new_id(), time.noon(1), titles=["Write"], auto_start_focus=True).after(40 * MINUTES)
    if is_finished:
        guest.finish()
    await add(user, time.noon(1) + 300 * SECOND, 600)
    act = Act(guest.now, "device", None)
    guest.focus = claims.claim(guest.focus, act, user.user_id, [], another_runs=False).focus
    guest.events[:] = [session_claimed(guest.focus)]
    await user.record(guest)
    assert await worked(user) == (35 if is_finished else 25) * MINUTES
    await user.record(guest if is_finished else guest.finish())
    assert (await worked(user), await rebuilt(db, user)) == (35 * MINUTES, 0)
    found = (await user.GetArchivedSession(archived_session_id=guest.id)).archived_session
    assert (found.total_focused_seconds, found.tasks[0].focused_seconds, found.pomodoro_count) == (1500, 1500, 0)


async def test_a_recorded_session_can_be_made_shorter_and_not_longer(
    histories: Histories, time: Time, db: Database
) -> None:
    user = await histories.user()
    begin = time.noon(1)
    timer = user.session(begin, titles=["Write"]).after(26 * MINUTES).finish()
    await user.record(timer)
    mask = FieldMask(paths=["title", "end_time"])
    changed = (
        await user.UpdateArchivedSession(
            archived_session_id=timer.id, update_mask=mask, title="Short", end_time=timestamp(begin + 600 * SECOND)
        )
    ).archived_session
    assert (changed.title, changed.total_focused_seconds, changed.pomodoro_count) == ("Short", 600, 0)
    assert (changed.outcome, changed.tasks[0].focused_seconds) == (
        archived_session_pb2.ARCHIVED_SESSION_OUTCOME_PARTIAL,
        600,
    )
    assert await worked(user) == 600
    with refused("TIME_NOT_RECORDED", archived_session_id=timer.id):
        await user.UpdateArchivedSession(
            archived_session_id=timer.id,
            update_mask=FieldMask(paths=["end_time"]),
            end_time=timestamp(begin + 3600 * SECOND),
        )
    [event] = await published(db, timer.id)
    assert (event["type"], event["data"]["payload"]["tasks"][0]["focused_seconds"]) == ("archived-session-updated", 600)
    # What the pomodoro service reports of it later deletes and restores it, and leaves the correction.
    await user.record(timer.after(60).delete())
    assert await worked(user) == 0
    await user.record(timer.after(60).undelete())
    assert await worked(user) == 600


async def test_a_deleted_session_counts_nowhere_until_it_is_undeleted(
    histories: Histories, time: Time, db: Database
) -> None:
    user = await histories.user()
    made = await add(user, time.noon(1))
    deleted = (await user.DeleteArchivedSession(archived_session_id=made.id, etag=made.etag)).archived_session
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * 86400
    assert await worked(user) == 0
    assert not (await user.ListArchivedSessions()).archived_sessions
    with refused("ARCHIVED_SESSION_DELETED", archived_session_id=made.id):
        await user.DeleteArchivedSession(archived_session_id=made.id)
    with refused("VERSION_CONFLICT", etag=deleted.etag):
        await user.UndeleteArchivedSession(archived_session_id=made.id, etag=made.etag)
    back = (await user.UndeleteArchivedSession(archived_session_id=made.id, etag=deleted.etag)).archived_session
    assert not back.HasField("delete_time")
    assert await worked(user) == 1800
    with refused("ARCHIVED_SESSION_NOT_DELETED", archived_session_id=made.id):
        await user.UndeleteArchivedSession(archived_session_id=made.id)
    kinds = [event["type"] for event in await published(db, made.id)]
    assert kinds == ["archived-session-added", "archived-session-deleted", "archived-session-updated"]


async def test_another_users_session_cannot_be_changed(histories: Histories, time: Time) -> None:
    user, other = await histories.user(), await histories.user()
    made = await add(user, time.noon(1))
    for call in (other.DeleteArchivedSession, other.UndeleteArchivedSession):
        with refused("ARCHIVED_SESSION_NOT_FOUND", archived_session_id=made.id):
            await call(archived_session_id=made.id)
    assert (await user.GetArchivedSession(archived_session_id=made.id)).archived_session == made


async def test_a_change_of_nothing_publishes_nothing(histories: Histories, time: Time, db: Database) -> None:
    user = await histories.user()
    made = await add(user, time.noon(1), title="Same")
    mask = FieldMask(paths=["title"])
    same = await user.UpdateArchivedSession(archived_session_id=made.id, update_mask=mask, title="Same")
    assert same.archived_session == made
    assert len(await published(db, made.id)) == 1
