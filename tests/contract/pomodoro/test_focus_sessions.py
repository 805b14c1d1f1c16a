"""FocusSessionService, as the devices of a user see it."""

import asyncio

import grpc
import pytest
from focusmesh.pomodoro.v1 import focus_session_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from redis.asyncio import Redis

from harness.waiting import until
from mesh.runtime.ids import new_id
from tests.contract.pomodoro.devices import FINISHED, MINUTE, PAUSED, PLANNED, RUNNING, Device, Time, events
from tests.support.errors import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSE_CURRENT, FINISH_CURRENT = pb.WHEN_RUNNING_PAUSE_CURRENT, pb.WHEN_RUNNING_FINISH_CURRENT


async def test_a_planned_session_is_read_back_with_its_tasks(laptop: Device) -> None:
    new = [pb.NewSessionTask(title="First", description="x" * 1000), pb.NewSessionTask(title="Second")]
    created = await laptop.create(title="Morning", tasks=new, auto_start_breaks=False, auto_start_focus=True)
    assert (created.title, created.state, created.focus_minutes) == ("Morning", PLANNED, 25)
    assert (created.auto_start_breaks, created.auto_start_focus) == (False, True)
    assert [(task.title, task.position) for task in created.tasks] == [("First", 0), ("Second", 1)]
    assert (created.current_task_id, created.task_count) == (created.tasks[0].id, 2)
    assert (await laptop.GetFocusSession(focus_session_id=created.id)).focus_session == created


async def test_while_auth_is_away_the_defaults_stand_and_the_response_says_so(laptop: Device) -> None:
    response = await laptop.CreateFocusSession(focus_minutes=50)
    session = response.focus_session
    assert response.defaults_used
    assert (session.focus_minutes, session.short_break_minutes, session.long_break_minutes) == (50, 5, 15)
    assert (session.long_break_interval, session.auto_start_breaks, session.auto_start_focus) == (4, True, False)


async def test_a_session_is_started_paused_elsewhere_resumed_and_finished(
    laptop: Device, time: Time, pomodoro_url: str
) -> None:
    phone, session = laptop.another(), await laptop.create()
    started = await laptop.StartFocusSession(focus_session_id=session.id)
    assert started.focus_session.state == RUNNING
    left = started.focus_session.interval_end_time.ToMicroseconds() - started.server_time.ToMicroseconds()
    assert left == 25 * MINUTE * 1_000_000
    time.pass_(10 * MINUTE)
    paused = (await phone.PauseFocusSession(focus_session_id=session.id)).focus_session
    assert (paused.state, paused.progress_seconds, paused.HasField("interval_end_time")) == (PAUSED, 600, False)
    time.pass_(MINUTE)
    await laptop.ResumeFocusSession(focus_session_id=session.id)
    time.pass_(11 * MINUTE)
    finished = (await phone.FinishFocusSession(focus_session_id=session.id)).focus_session
    assert (finished.state, finished.total_focused_seconds, finished.pomodoro_count) == (FINISHED, 21 * MINUTE, 1)
    assert finished.outcome == focus_session_pb2.FOCUS_SESSION_OUTCOME_COMPLETED
    kinds = ["session-created", "session-started", "session-paused", "session-resumed", "session-finished"]
    assert events(pomodoro_url, session.id) == list(zip(kinds, range(1, 6), strict=True))


async def test_missed_ends_are_written_one_after_the_other_by_whoever_reads(
    laptop: Device, time: Time, pomodoro_url: str
) -> None:
    session = await laptop.create(start=True, auto_start_focus=True)
    time.pass_(56 * MINUTE)
    shown = (await laptop.GetFocusSession(focus_session_id=session.id)).focus_session
    assert (shown.interval_number, shown.progress_seconds, shown.pomodoro_count) == (4, MINUTE, 2)
    assert shown.etag == "v4"
    again, current, listed = await asyncio.gather(
        laptop.GetFocusSession(focus_session_id=session.id), laptop.GetCurrentFocusSession(), laptop.ListFocusSessions()
    )
    assert {each.etag for each in (again.focus_session, current.focus_session, *listed.focus_sessions)} == {"v4"}
    ends = [(kind, version) for kind, version in events(pomodoro_url, session.id) if kind == "session-phase-changed"]
    assert ends == [("session-phase-changed", version) for version in (2, 3, 4)]


async def test_reading_a_session_in_its_interval_writes_nothing(laptop: Device, time: Time, pomodoro_url: str) -> None:
    session = await laptop.create(start=True)
    time.pass_(5 * MINUTE)
    shown = (await laptop.GetCurrentFocusSession()).focus_session
    assert (shown.progress_seconds, shown.etag) == (300, session.etag)
    assert len(events(pomodoro_url, session.id)) == 1


async def test_two_devices_with_one_version_one_wins_and_the_other_gets_the_etag(laptop: Device, time: Time) -> None:
    phone, session = laptop.another(), await laptop.create(start=True)
    time.pass_(12 * MINUTE)
    given = {"focus_session_id": session.id, "etag": session.etag}
    both = await asyncio.gather(
        laptop.PauseFocusSession(**given), phone.FinishFocusSession(**given), return_exceptions=True
    )
    [lost] = [each for each in both if isinstance(each, grpc.aio.AioRpcError)]
    assert lost.code() == grpc.StatusCode.ABORTED
    assert "v2" in (lost.details() or "")
    shown = (await laptop.GetFocusSession(focus_session_id=session.id)).focus_session
    assert (shown.total_focused_seconds, shown.etag) == (12 * MINUTE, "v2")


async def test_a_second_session_is_refused_with_the_running_one(laptop: Device) -> None:
    running, other = await laptop.create(start=True), await laptop.create()
    end = running.interval_end_time.ToJsonString()
    details = {"focus_session_id": running.id, "state": "running", "etag": "v1", "interval_end_time": end}
    with refused("ANOTHER_SESSION_RUNNING", **details):
        await laptop.StartFocusSession(focus_session_id=other.id)
    with refused("ANOTHER_SESSION_RUNNING", **details):
        await laptop.create(start=True)
    await laptop.another_user().create(start=True)


@pytest.mark.parametrize(("when", "state"), [(PAUSE_CURRENT, PAUSED), (FINISH_CURRENT, FINISHED)])
async def test_the_running_session_makes_way_when_the_request_says_so(
    laptop: Device, pomodoro_url: str, when: int, state: int
) -> None:
    first, second = await laptop.create(start=True), await laptop.create()
    await laptop.StartFocusSession(focus_session_id=second.id, when_running=when)
    third = await laptop.create(start=True, when_running=when)
    states = [
        (await laptop.GetFocusSession(focus_session_id=each.id)).focus_session.state for each in (first, second, third)
    ]
    assert states == [state, state, RUNNING]
    assert len(events(pomodoro_url, first.id)) == 2


async def test_what_cannot_start_stops_nothing(laptop: Device) -> None:
    running, other = await laptop.create(start=True), await laptop.create()
    with refused("VERSION_CONFLICT"):
        await laptop.StartFocusSession(focus_session_id=other.id, etag="v9", when_running=PAUSE_CURRENT)
    assert (await laptop.GetFocusSession(focus_session_id=running.id)).focus_session.state == RUNNING


async def test_an_interval_that_is_over_is_no_running_one(laptop: Device, time: Time) -> None:
    first, second = await laptop.create(start=True, auto_start_breaks=False), await laptop.create()
    time.pass_(30 * MINUTE)
    await laptop.StartFocusSession(focus_session_id=second.id)
    shown = (await laptop.GetFocusSession(focus_session_id=first.id)).focus_session
    assert (shown.state, shown.pomodoro_count, shown.interval_number) == (PAUSED, 1, 2)


async def test_twenty_devices_that_start_at_once_start_one_session(laptop: Device) -> None:
    devices = [laptop.another() for _ in range(20)]
    made = await asyncio.gather(*(each.create(start=True) for each in devices), return_exceptions=True)
    assert sum(isinstance(each, focus_session_pb2.FocusSession) for each in made) == 1
    made = await asyncio.gather(*(each.create(start=True, when_running=PAUSE_CURRENT) for each in devices[:6]))
    listed = (await laptop.ListFocusSessions(states=[RUNNING])).focus_sessions
    assert len(listed) == 1


async def test_a_repeated_request_starts_once(laptop: Device, pomodoro_url: str) -> None:
    session, request_id = await laptop.create(), new_id()
    first, again = [
        await laptop.StartFocusSession(focus_session_id=session.id, request_id=request_id) for _ in range(2)
    ]
    assert first == again
    assert len(events(pomodoro_url, session.id)) == 2


async def test_a_confirming_timer_writes_nothing_and_one_ahead_is_refused(
    laptop: Device, time: Time, pomodoro_url: str
) -> None:
    session = await laptop.create(start=True)
    time.pass_(10 * MINUTE)
    given = {"focus_session_id": session.id, "interval_number": 1}
    confirmed = await laptop.SyncProgress(progress_seconds=599, **given)
    assert (confirmed.result, confirmed.focus_session.etag) == (pb.SYNC_RESULT_CONFIRMED, session.etag)
    with refused("PROGRESS_AHEAD", interval_number="1", progress_seconds="600"):
        await laptop.SyncProgress(progress_seconds=700, **given)
    assert len(events(pomodoro_url, session.id)) == 1


async def test_a_device_that_slept_alone_takes_the_time_out(laptop: Device, time: Time, redis: "Redis") -> None:
    session = await laptop.create(start=True)
    # From then on it is known that no other device is there.
    await until(lambda: redis.exists(f"pomodoro:present:{laptop.user_id}"), "the device is noted")
    time.pass_(20 * MINUTE)
    synced = await laptop.SyncProgress(focus_session_id=session.id, interval_number=1, progress_seconds=300)
    assert (synced.result, synced.focus_session.progress_seconds) == (pb.SYNC_RESULT_GAP_ADDED, 300)
    left = synced.focus_session.interval_end_time.ToMicroseconds() - synced.server_time.ToMicroseconds()
    assert left == 20 * MINUTE * 1_000_000


async def test_a_device_that_slept_beside_an_active_one_gets_the_servers_value(laptop: Device, time: Time) -> None:
    phone, session = laptop.another(), await laptop.create(start=True)
    time.pass_(10 * MINUTE)
    await phone.SyncProgress(focus_session_id=session.id, interval_number=1, progress_seconds=600)
    time.pass_(10 * MINUTE)
    synced = await laptop.SyncProgress(focus_session_id=session.id, interval_number=1, progress_seconds=300)
    assert (synced.result, synced.focus_session.progress_seconds) == (pb.SYNC_RESULT_SERVER_VALUE_KEPT, 1200)


async def test_idle_time_and_interruptions_are_taken_out(laptop: Device, time: Time) -> None:
    session = await laptop.create(start=True)
    begun = session.start_time.seconds
    time.pass_(20 * MINUTE)
    since = Timestamp(seconds=begun + 15 * MINUTE, nanos=session.start_time.nanos)
    given = {"focus_session_id": session.id, "idle_start_time": since}
    idle = (await laptop.ReportIdle(action=pb.IDLE_ACTION_REASSIGN, **given)).focus_session
    assert (idle.total_focused_seconds, idle.total_break_seconds) == (900, 300)
    kind = pb.INTERRUPTION_KIND_EXTERNAL
    interrupted = await laptop.AddInterruption(focus_session_id=session.id, kind=kind, duration_seconds=60)
    assert (interrupted.focus_session.total_focused_seconds, interrupted.focus_session.interruption_count) == (840, 1)
    with refused("IDLE_IN_FUTURE"):
        await laptop.ReportIdle(
            focus_session_id=session.id,
            idle_start_time=Timestamp(seconds=begun + 86400),
            action=pb.IDLE_ACTION_KEEP,
        )


async def test_tasks_get_the_time_that_they_were_worked_on(laptop: Device, time: Time) -> None:
    session = await laptop.create(start=True, tasks=[pb.NewSessionTask(title="First")])
    time.pass_(5 * MINUTE)
    added = await laptop.AddSessionTask(focus_session_id=session.id, title="Second", description="More")
    first, second = session.tasks[0].id, added.session_task.id
    await laptop.SelectSessionTask(session_task_id=second)
    time.pass_(3 * MINUTE)
    changed = await laptop.UpdateSessionTask(
        session_task_id=second, update_mask=FieldMask(paths=["is_done", "description"]), is_done=True
    )
    assert [(task.is_done, task.HasField("description")) for task in changed.focus_session.tasks] == [
        (False, False),
        (True, False),
    ]
    time.pass_(2 * MINUTE)
    shown = (await laptop.GetFocusSession(focus_session_id=session.id)).focus_session
    assert [(task.id, task.focused_seconds) for task in shown.tasks] == [(first, 420), (second, 180)]
    ordered = await laptop.ReorderSessionTasks(focus_session_id=session.id, session_task_ids=[second, first])
    assert [task.id for task in ordered.focus_session.tasks] == [second, first]
    removed = (await laptop.RemoveSessionTask(session_task_id=second)).focus_session
    assert [(task.id, task.position) for task in removed.tasks] == [(first, 0)]
    assert removed.total_focused_seconds == 600
    with refused("SESSION_TASK_NOT_FOUND", session_task_id=second):
        await laptop.SelectSessionTask(session_task_id=second)


async def test_an_id_of_a_task_may_be_written_in_capitals(laptop: Device) -> None:
    session = await laptop.create(tasks=[pb.NewSessionTask(title="x")])
    task_id = session.tasks[0].id.upper()
    selected = await laptop.SelectSessionTask(session_task_id=task_id)
    assert selected.focus_session.current_task_id == session.tasks[0].id
    mask = FieldMask(paths=["title"])
    changed = await laptop.UpdateSessionTask(session_task_id=task_id, update_mask=mask, title="y")
    assert changed.focus_session.tasks[0].title == "y"
    removed = await laptop.RemoveSessionTask(session_task_id=task_id)
    assert not removed.focus_session.tasks


async def test_the_plan_of_a_planned_session_changes(laptop: Device) -> None:
    session = await laptop.create(title="x")
    mask = FieldMask(paths=["title", "focus_minutes", "auto_start_focus"])
    given = {"focus_session_id": session.id, "update_mask": mask, "focus_minutes": 50, "auto_start_focus": True}
    changed = (await laptop.UpdateFocusSession(**given)).focus_session
    assert (changed.HasField("title"), changed.focus_minutes, changed.auto_start_focus) == (False, 50, True)
    await laptop.StartFocusSession(focus_session_id=session.id)
    with refused("FOCUS_SESSION_ALREADY_STARTED"):
        await laptop.UpdateFocusSession(**given)
    with refused("INVALID_REQUEST"):
        await laptop.UpdateFocusSession(focus_session_id=session.id, update_mask=FieldMask(paths=["focus_minutes"]))


async def test_a_deleted_session_is_hidden_and_comes_back(laptop: Device) -> None:
    session = await laptop.create(start=True)
    deleted = (await laptop.DeleteFocusSession(focus_session_id=session.id)).focus_session
    assert (deleted.state, deleted.HasField("purge_time")) == (PAUSED, True)
    assert not (await laptop.ListFocusSessions()).focus_sessions
    assert len((await laptop.ListFocusSessions(show_deleted=True)).focus_sessions) == 1
    assert not (await laptop.GetCurrentFocusSession()).HasField("focus_session")
    with refused("FOCUS_SESSION_DELETED"):
        await laptop.ResumeFocusSession(focus_session_id=session.id)
    await laptop.UndeleteFocusSession(focus_session_id=session.id)
    assert (await laptop.GetCurrentFocusSession()).focus_session.id == session.id


async def test_the_current_session_is_the_running_one_else_the_one_paused_last(laptop: Device, time: Time) -> None:
    first = await laptop.create(start=True)
    second = await laptop.create(start=True, when_running=PAUSE_CURRENT)
    assert (await laptop.GetCurrentFocusSession()).focus_session.id == second.id
    time.pass_(1)
    await laptop.PauseFocusSession(focus_session_id=second.id)
    time.pass_(1)
    await laptop.ResumeFocusSession(focus_session_id=first.id)
    assert (await laptop.GetCurrentFocusSession()).focus_session.id == first.id
    await laptop.FinishFocusSession(focus_session_id=first.id)
    assert (await laptop.GetCurrentFocusSession()).focus_session.id == second.id


async def test_pages_show_every_session_once_the_newest_first(laptop: Device) -> None:
    created = [(await laptop.create()).id for _ in range(5)]
    first = await laptop.ListFocusSessions(page_size=3)
    rest = await laptop.ListFocusSessions(page_size=3, page_token=first.next_page_token)
    assert [each.id for each in [*first.focus_sessions, *rest.focus_sessions]] == created[::-1]
    assert not rest.next_page_token
    with refused("PAGE_TOKEN_INVALID"):
        await laptop.ListFocusSessions(page_token=first.next_page_token, states=[PLANNED])


async def test_another_users_session_and_task_look_like_missing_ones(laptop: Device) -> None:
    session = await laptop.create(tasks=[pb.NewSessionTask(title="x")])
    other = laptop.another_user()
    with refused("FOCUS_SESSION_NOT_FOUND", focus_session_id=session.id):
        await other.StartFocusSession(focus_session_id=session.id)
    with refused("FOCUS_SESSION_NOT_FOUND", focus_session_id=session.id):
        await other.GetFocusSession(focus_session_id=session.id)
    with refused("SESSION_TASK_NOT_FOUND", session_task_id=session.tasks[0].id):
        await other.SelectSessionTask(session_task_id=session.tasks[0].id)
    with refused("FOCUS_SESSION_NOT_FOUND"):
        async with other.watching(session.id) as states:
            await anext(states)
