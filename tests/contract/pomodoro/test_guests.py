"""FocusSessionService, as guests see it: the same rules, with Redis as the only store."""

import asyncio
import time as real_time
from collections.abc import AsyncIterator

import grpc
import psycopg
import pytest
import pytest_asyncio
from focusmesh.pomodoro.v1 import focus_session_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from redis.asyncio import Redis

from harness.waiting import until
from mesh.events.outbox import SideEffects
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.pomodoro.cache import ChangeSender, CurrentSessions, Guests, Presence, Watches
from services.pomodoro.jobs import GuestIntervalEnder
from services.pomodoro.model import Guest
from tests.contract.pomodoro.devices import FINISHED, MINUTE, PAUSED, PLANNED, RUNNING, Device, Time
from tests.support.errors import refused
from tests.support.tokens import Signer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSE_CURRENT, FINISH_CURRENT = pb.WHEN_RUNNING_PAUSE_CURRENT, pb.WHEN_RUNNING_FINISH_CURRENT
DAY_SECONDS = 86_400


@pytest.fixture
def guest(channel: grpc.aio.Channel, signer: Signer) -> Device:
    """A new guest."""
    return a_guest(channel, signer)


@pytest_asyncio.fixture(loop_scope="module")
async def guests(redis: "Redis") -> AsyncIterator[Guests]:
    """The guests' store, as the service has it."""
    yield Guests(redis)


def a_guest(channel: grpc.aio.Channel, signer: Signer) -> Device:
    guest_id = new_id()
    until = int(real_time.time()) + 2 * DAY_SECONDS
    return Device(channel, signer, guest_id, sid=guest_id, guest=until, scope="focus:read focus:write")


async def test_a_guest_starts_pauses_resumes_and_finishes(guest: Device, time: Time) -> None:
    session = await guest.create(title="Morning", tasks=[pb.NewSessionTask(title="Write")])
    assert session.state == PLANNED
    await guest.StartFocusSession(focus_session_id=session.id)
    time.pass_(10 * MINUTE)
    paused = (await guest.PauseFocusSession(focus_session_id=session.id)).focus_session
    assert (paused.state, paused.progress_seconds, paused.tasks[0].focused_seconds) == (PAUSED, 600, 600)
    time.pass_(MINUTE)
    assert (await guest.GetCurrentFocusSession()).focus_session == paused
    await guest.ResumeFocusSession(focus_session_id=session.id)
    time.pass_(11 * MINUTE)
    finished = (await guest.FinishFocusSession(focus_session_id=session.id)).focus_session
    assert (finished.state, finished.total_focused_seconds, finished.pomodoro_count) == (FINISHED, 21 * MINUTE, 1)
    assert finished.outcome == focus_session_pb2.FOCUS_SESSION_OUTCOME_COMPLETED
    assert (await guest.GetFocusSession(focus_session_id=session.id)).focus_session == finished


async def test_nothing_of_a_guest_is_in_the_database_and_all_of_it_goes_with_the_guest(
    guest: Device, pomodoro_url: str, redis: "Redis"
) -> None:
    session = await guest.create(start=True, request_id=new_id())
    await guest.PauseFocusSession(focus_session_id=session.id, request_id=new_id())
    with psycopg.connect(pomodoro_url) as connection:
        for table, column in (("sessions", "user_id::text"), ("outbox", "key"), ("idempotency", "user_id::text")):
            assert connection.execute(f"SELECT 1 FROM {table} WHERE {column} = %s", (guest.user_id,)).fetchall() == []
    left = await redis.ttl(f"pomodoro:guest:{guest.user_id}")
    assert 2 * DAY_SECONDS - 60 < left <= 2 * DAY_SECONDS


async def test_a_new_session_of_a_guest_has_the_defaults(guest: Device) -> None:
    response = await guest.CreateFocusSession()
    session = response.focus_session
    assert not response.defaults_used
    assert (session.focus_minutes, session.short_break_minutes, session.long_break_minutes) == (25, 5, 15)


async def test_missed_ends_of_a_guest_have_their_instants(guest: Device, time: Time) -> None:
    session = await guest.create(start=True, auto_start_focus=True)
    time.pass_(56 * MINUTE)
    shown = (await guest.GetFocusSession(focus_session_id=session.id)).focus_session
    assert (shown.interval_number, shown.progress_seconds, shown.pomodoro_count) == (4, MINUTE, 2)
    assert shown.etag == "v4"
    listed = (await guest.ListFocusSessions()).focus_sessions
    assert [each.etag for each in listed] == ["v4"]


async def test_guests_and_users_see_nothing_of_one_another(
    guest: Device, laptop: Device, channel: grpc.aio.Channel, signer: Signer
) -> None:
    of_guest, of_user = await guest.create(start=True), await laptop.create(start=True)
    for caller, session in ((laptop, of_guest), (a_guest(channel, signer), of_guest), (guest, of_user)):
        with refused("FOCUS_SESSION_NOT_FOUND", focus_session_id=session.id):
            await caller.GetFocusSession(focus_session_id=session.id)
        with refused("FOCUS_SESSION_NOT_FOUND"):
            await caller.PauseFocusSession(focus_session_id=session.id)
        assert session.id not in [each.id for each in (await caller.ListFocusSessions()).focus_sessions]


async def test_one_session_of_a_guest_runs(guest: Device) -> None:
    running, other = await guest.create(start=True), await guest.create()
    with refused("ANOTHER_SESSION_RUNNING", focus_session_id=running.id, state="running"):
        await guest.StartFocusSession(focus_session_id=other.id)
    for when, state in ((PAUSE_CURRENT, PAUSED), (FINISH_CURRENT, FINISHED)):
        current = (await guest.GetCurrentFocusSession()).focus_session
        await guest.create(start=True, when_running=when)
        assert (await guest.GetFocusSession(focus_session_id=current.id)).focus_session.state == state
    assert len((await guest.ListFocusSessions(states=[RUNNING])).focus_sessions) == 1


async def test_of_twenty_starts_at_once_one_is_made(guest: Device) -> None:
    made = await asyncio.gather(*(guest.create(start=True) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, focus_session_pb2.FocusSession) for each in made) == 1
    assert len((await guest.ListFocusSessions()).focus_sessions) == 1


async def test_two_changes_of_one_version_one_wins(guest: Device, time: Time) -> None:
    session = await guest.create(start=True)
    time.pass_(MINUTE)
    given = {"focus_session_id": session.id, "etag": session.etag}
    both = await asyncio.gather(
        guest.PauseFocusSession(**given), guest.FinishFocusSession(**given), return_exceptions=True
    )
    [lost] = [each for each in both if isinstance(each, grpc.aio.AioRpcError)]
    assert lost.code() == grpc.StatusCode.ABORTED


async def test_a_repeated_request_of_a_guest_gets_the_stored_response(guest: Device, time: Time) -> None:
    request_id = new_id()
    first = await guest.CreateFocusSession(start=True, request_id=request_id)
    time.pass_(MINUTE)
    assert await guest.CreateFocusSession(start=True, request_id=request_id) == first
    assert len((await guest.ListFocusSessions()).focus_sessions) == 1
    with refused("REQUEST_ID_REUSED"):
        await guest.CreateFocusSession(start=True, title="Another", request_id=request_id)
    pause = {"focus_session_id": first.focus_session.id, "request_id": new_id()}
    paused = await guest.PauseFocusSession(**pause)
    assert await guest.PauseFocusSession(**pause) == paused


async def test_the_newest_twenty_responses_are_kept(guest: Device) -> None:
    ids = [new_id() for _ in range(21)]
    session = await guest.create()
    for index, request_id in enumerate(ids):
        mask = FieldMask(paths=["title"])
        given = {"focus_session_id": session.id, "title": f"{index}", "update_mask": mask, "request_id": request_id}
        shown = (await guest.UpdateFocusSession(**given)).focus_session
    newest = {"focus_session_id": session.id, "title": "20", "update_mask": mask, "request_id": ids[-1]}
    assert (await guest.UpdateFocusSession(**newest)).focus_session == shown
    dropped = {**newest, "title": "0", "request_id": ids[0]}
    assert (await guest.UpdateFocusSession(**dropped)).focus_session.etag == "v23"


async def test_tasks_of_a_guest_are_added_selected_ordered_and_removed(guest: Device) -> None:
    session = await guest.create(start=True, tasks=[pb.NewSessionTask(title="First")])
    added = (await guest.AddSessionTask(focus_session_id=session.id, title="Second")).session_task
    await guest.SelectSessionTask(session_task_id=added.id.upper())
    ids = [added.id, session.tasks[0].id]
    ordered = await guest.ReorderSessionTasks(focus_session_id=session.id.upper(), session_task_ids=ids)
    assert [task.id for task in ordered.focus_session.tasks] == ids
    assert ordered.focus_session.current_task_id == added.id
    left = (await guest.RemoveSessionTask(session_task_id=ids[1])).focus_session
    assert [task.title for task in left.tasks] == ["Second"]
    with refused("SESSION_TASK_NOT_FOUND"):
        await guest.RemoveSessionTask(session_task_id=ids[1])


async def test_a_guest_has_twenty_sessions_and_a_deleted_one_makes_room(guest: Device) -> None:
    made = [await guest.create() for _ in range(20)]
    with refused("GUEST_FULL", limit="20", what="sessions"):
        await guest.create()
    await guest.DeleteFocusSession(focus_session_id=made[3].id)
    last = await guest.create()
    listed = [each.id for each in (await guest.ListFocusSessions(page_size=15)).focus_sessions]
    assert listed == [last.id, *(each.id for each in reversed(made[6:]))]
    with refused("FOCUS_SESSION_NOT_FOUND"):
        await guest.GetFocusSession(focus_session_id=made[3].id)


async def test_the_pages_of_a_guest_s_list_are_its_whole(guest: Device) -> None:
    made = [(await guest.create()).id for _ in range(5)]
    token, seen = "", list[str]()
    for _ in range(3):
        page = await guest.ListFocusSessions(page_size=2, page_token=token)
        token = page.next_page_token
        seen += [each.id for each in page.focus_sessions]
    assert (seen, token) == (made[::-1], "")


async def test_a_guest_has_a_hundred_tasks(guest: Device) -> None:
    fifty = [pb.NewSessionTask(title="x")] * 50
    first, second, third = await guest.create(tasks=fifty), await guest.create(tasks=fifty[:49]), await guest.create()
    await guest.AddSessionTask(focus_session_id=third.id, title="The last")
    for session in (second, third):
        with refused("GUEST_FULL", limit="100", what="tasks"):
            await guest.AddSessionTask(focus_session_id=session.id, title="One more")
    await guest.RemoveSessionTask(session_task_id=first.tasks[0].id)
    await guest.AddSessionTask(focus_session_id=second.id, title="In its place")


async def test_while_guests_fill_half_of_the_memory_a_large_one_adds_nothing_and_goes_on(
    guest: Device, channel: grpc.aio.Channel, signer: Signer, redis: "Redis"
) -> None:
    large = [pb.NewSessionTask(title="x", description="x" * 1_000)] * 25
    session = await guest.create(tasks=large, start=True)
    most = (await redis.config_get("maxmemory"))["maxmemory"]
    await redis.config_set("maxmemory", int((await redis.info("memory"))["used_memory"] / 0.6))
    try:
        with refused("GUEST_FULL", limit="16"):
            await guest.create(tasks=large)
        await guest.PauseFocusSession(focus_session_id=session.id)
        await a_guest(channel, signer).create(start=True)
    finally:
        await redis.config_set("maxmemory", most)
    await guest.create(tasks=large)


async def test_intervals_of_guests_end_at_their_end_by_themselves(
    guest: Device, guests: Guests, redis: "Redis", time: Time
) -> None:
    """The worker goes by the clock of Redis, so a session that began an hour ago is written into the past."""
    session = await guest.create(start=True)
    identity = Guest(guest.user_id, int(real_time.time()) + DAY_SECONDS)
    stored = await guests.read(identity)
    [focus] = stored.kept
    began, start = clock.now() - 26 * MINUTE * SECOND, focus.transitions[0]
    moved = focus.session._replace(interval_end=began + 25 * MINUTE * SECOND, as_of=began, start_time=began)
    await stored.save(focus._replace(session=moved, transitions=(start._replace(at=began),)), SideEffects((), None, ""))
    changes = ChangeSender(redis, Watches(10), CurrentSessions(redis))
    ender = GuestIntervalEnder(guests, Presence(redis, clock.now), changes)
    while await ender.run_once():
        pass
    [ended] = (await guests.read(identity)).kept
    assert (ended.session.id, ended.session.interval_number, ended.session.pomodoro_count) == (session.id, 2, 1)
    assert ended.transitions[-1].at == began + 25 * MINUTE * SECOND
    assert guest.user_id in changes._pending


async def test_intervals_of_a_guest_whose_claim_did_not_commit_still_end(
    guest: Device, guests: Guests, redis: "Redis"
) -> None:
    await guest.create(start=True)
    await redis.zadd("pomodoro:guests:due", {guest.user_id: 1})
    await guests.freeze(guest.user_id)
    assert await guests.find(guest.user_id) is None
    due = await redis.zscore("pomodoro:guests:due", guest.user_id)
    assert due is not None
    assert 0 < due / SECOND - real_time.time() <= 1
    await guests.unfreeze(guest.user_id)
    found = await guests.find(guest.user_id)
    assert found is not None
    assert found.due is not None


async def test_a_guest_watches_its_session(guest: Device) -> None:
    session = await guest.create(start=True)
    async with guest.watching() as states:
        assert (await anext(states)).focus_session.state == RUNNING
        await guest.PauseFocusSession(focus_session_id=session.id)
        assert (await anext(states)).focus_session.state == PAUSED


async def test_without_redis_s_data_a_guest_begins_anew(guest: Device, redis: "Redis") -> None:
    session = await guest.create(start=True)
    await redis.delete(f"pomodoro:guest:{guest.user_id}")
    with refused("FOCUS_SESSION_NOT_FOUND"):
        await guest.GetFocusSession(focus_session_id=session.id)
    ender = GuestIntervalEnder(
        Guests(redis), Presence(redis, clock.now), ChangeSender(redis, Watches(10), CurrentSessions(redis))
    )
    await redis.zadd("pomodoro:guests:due", {guest.user_id: 1})
    await until(lambda: _ended(ender, redis, guest.user_id), "a guest that is gone is due no more")


async def _ended(ender: GuestIntervalEnder, redis: "Redis", guest_id: str) -> bool:
    await ender.run_once()
    return await redis.zscore("pomodoro:guests:due", guest_id) is None
