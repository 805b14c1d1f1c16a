"""Sessions of occurrences, as the calendar starts them: one of an occurrence, unless it was deleted or abandoned."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest
import pytest_asyncio
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as public
from focusmesh.pomodoro.v1 import planned_session_service_pb2 as pb
from focusmesh.pomodoro.v1.planned_session_service_pb2_grpc import PlannedSessionServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.rpc.client import ServiceClient
from mesh.rpc.service_identity import ServiceSigner
from mesh.rpc.status import CalleeError
from mesh.runtime.ids import new_id
from mesh.runtime.signing_keys import private_key
from services.pomodoro.settings import Settings
from stack.keys import Keys
from tests.contract.pomodoro.devices import FINISHED, MINUTE, PAUSED, RUNNING, Device, Time, events
from tests.support.errors import refused
from tests.support.tokens import Signer

pytestmark = pytest.mark.asyncio(loop_scope="module")
PLANNED_START = Timestamp(seconds=1_790_000_000)
SLOT = "2026-09-21T09:00:00"


class Calendar:
    """The calendar of one user, as pomodoro sees it."""

    def __init__(self, stub: PlannedSessionServiceStub, device: Device) -> None:
        self._stub, self._device, self.event_id = stub, device, new_id()

    async def start(self, slot: str = SLOT, **fields: Any) -> pb.StartPlannedSessionResponse:
        """Starts an occurrence of 50 minutes."""
        made = {"request_id": new_id(), "title": "Write", "planned_start_time": PLANNED_START, "planned_minutes": 50}
        of_user = {"user_id": self._device.user_id, "original_event_id": self.event_id, "slot": slot}
        return await self._stub.StartPlannedSession(pb.StartPlannedSessionRequest(**of_user | made | fields))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stub(
    channel: grpc.aio.Channel, pomodoro_settings: Settings, keys: Keys
) -> AsyncIterator[PlannedSessionServiceStub]:
    signer = ServiceSigner("calendar", private_key(keys.service_key("calendar").read_bytes()))
    client = ServiceClient("pomodoro", pomodoro_settings.listen, signer, None)
    yield PlannedSessionServiceStub(client.channel)
    await client.close()


@pytest.fixture
def calendar(stub: PlannedSessionServiceStub, laptop: Device) -> Calendar:
    return Calendar(stub, laptop)


async def test_an_occurrence_starts_as_a_session_that_knows_its_plan(
    calendar: Calendar, laptop: Device, pomodoro_url: str
) -> None:
    task_id = new_id()
    task = public.NewSessionTask(title="Chapter 2", todo_task_id=task_id)
    started = await calendar.start(task=task)
    session = started.focus_session
    assert started.is_new
    assert (session.title, session.state, session.focus_minutes) == ("Write", RUNNING, 25)
    assert (session.original_event_id, session.slot) == (calendar.event_id, SLOT)
    assert (session.planned_start_time, session.planned_minutes) == (PLANNED_START, 50)
    assert [(each.title, each.todo_task_id) for each in session.tasks] == [("Chapter 2", task_id)]
    assert (await laptop.GetFocusSession(focus_session_id=session.id)).focus_session.id == session.id
    assert events(pomodoro_url, session.id) == [("session-started", 1)]


async def test_a_focus_interval_is_not_longer_than_what_was_planned(calendar: Calendar) -> None:
    assert (await calendar.start(planned_minutes=10)).focus_session.focus_minutes == 10


async def test_a_second_start_returns_the_session_as_it_is_now(calendar: Calendar, laptop: Device, time: Time) -> None:
    first = (await calendar.start()).focus_session
    time.pass_(5 * MINUTE)
    running = await calendar.start(
        title="Another title", planned_minutes=7, when_running=public.WHEN_RUNNING_PAUSE_CURRENT
    )
    assert (running.is_new, running.focus_session.id, running.focus_session.title) == (False, first.id, "Write")
    assert running.focus_session.progress_seconds == 5 * MINUTE
    await laptop.PauseFocusSession(focus_session_id=first.id)
    await laptop.create(start=True)
    paused = await calendar.start()
    assert (paused.is_new, paused.focus_session.id, paused.focus_session.state) == (False, first.id, PAUSED)
    time.pass_(MINUTE)
    await laptop.FinishFocusSession(focus_session_id=first.id)
    finished = await calendar.start()
    assert (finished.is_new, finished.focus_session.id, finished.focus_session.state) == (False, first.id, FINISHED)


async def test_an_interval_that_is_over_has_ended_in_what_a_second_start_returns(
    calendar: Calendar, time: Time
) -> None:
    first = (await calendar.start()).focus_session
    time.pass_(26 * MINUTE)
    again = (await calendar.start()).focus_session
    assert (again.id, again.interval_number, again.pomodoro_count) == (first.id, 2, 1)


@pytest.mark.parametrize("when_running", public.WhenRunning.values())
async def test_twenty_parallel_starts_give_one_session(
    calendar: Calendar, laptop: Device, when_running: public.WhenRunning.ValueType, pomodoro_url: str
) -> None:
    starts = await asyncio.gather(*(calendar.start(when_running=when_running) for _ in range(20)))
    assert len({each.focus_session.id for each in starts}) == 1
    assert sum(each.is_new for each in starts) == 1
    assert all(each.focus_session.state == RUNNING for each in starts)
    assert len((await laptop.ListFocusSessions()).focus_sessions) == 1
    assert events(pomodoro_url, starts[0].focus_session.id) == [("session-started", 1)]


async def test_other_slots_other_events_and_other_users_have_sessions_of_their_own(
    calendar: Calendar, stub: PlannedSessionServiceStub, laptop: Device
) -> None:
    pause = public.WHEN_RUNNING_PAUSE_CURRENT
    foreign = Calendar(stub, laptop.another_user())
    foreign.event_id = calendar.event_id
    started = [
        await calendar.start(),
        await calendar.start("2026-09-22T09:00:00", when_running=pause),
        await calendar.start(original_event_id=new_id(), when_running=pause),
        await foreign.start(),
    ]
    assert len({each.focus_session.id for each in started}) == 4
    assert all(each.is_new for each in started)


async def test_the_session_that_an_occurrence_is_known_by_is_returned_though_it_has_another_slot_now(
    calendar: Calendar, laptop: Device, time: Time
) -> None:
    first = (await calendar.start()).focus_session
    moved = {"slot": "2026-09-21T10:00:00", "original_event_id": new_id(), "focus_session_id": first.id}
    again = await calendar.start(**moved)
    assert (again.is_new, again.focus_session.id) == (False, first.id)
    time.pass_(MINUTE)
    await laptop.DeleteFocusSession(focus_session_id=first.id)
    assert (await calendar.start(**moved)).is_new


async def test_an_abandoned_occurrence_starts_again(calendar: Calendar, laptop: Device) -> None:
    first = (await calendar.start()).focus_session
    await laptop.FinishFocusSession(focus_session_id=first.id)
    again = await calendar.start()
    assert again.is_new
    assert again.focus_session.id != first.id


async def test_a_deleted_occurrence_starts_again_and_the_deleted_session_stays_away(
    calendar: Calendar, laptop: Device, time: Time
) -> None:
    first = (await calendar.start()).focus_session
    time.pass_(MINUTE)
    await laptop.DeleteFocusSession(focus_session_id=first.id)
    again = await calendar.start()
    assert (again.is_new, again.focus_session.id == first.id) == (True, False)
    with refused("OCCURRENCE_STARTED_AGAIN", focus_session_id=first.id) as error:
        await laptop.UndeleteFocusSession(focus_session_id=first.id)
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    await laptop.DeleteFocusSession(focus_session_id=again.focus_session.id)
    await laptop.UndeleteFocusSession(focus_session_id=first.id)
    assert (await calendar.start()).focus_session.id == first.id


async def test_while_another_session_runs_it_is_named_and_nothing_changes(
    calendar: Calendar, laptop: Device, pomodoro_url: str
) -> None:
    running = await laptop.create(start=True)
    before = events(pomodoro_url, running.id)
    with pytest.raises(CalleeError) as error:
        await calendar.start()
    assert error.value.reason == "ANOTHER_SESSION_RUNNING"
    assert error.value.metadata["focus_session_id"] == running.id
    assert error.value.metadata["etag"] == running.etag
    assert len((await laptop.ListFocusSessions()).focus_sessions) == 1
    assert events(pomodoro_url, running.id) == before


@pytest.mark.parametrize(
    ("when_running", "kind", "state"),
    [
        (public.WHEN_RUNNING_PAUSE_CURRENT, "session-paused", PAUSED),
        (public.WHEN_RUNNING_FINISH_CURRENT, "session-finished", FINISHED),
    ],
)
async def test_the_running_session_is_paused_or_finished_on_request(
    calendar: Calendar, laptop: Device, pomodoro_url: str, when_running: int, kind: str, state: int
) -> None:
    running = await laptop.create(start=True)
    assert (await calendar.start(when_running=when_running)).is_new
    stopped = (await laptop.GetFocusSession(focus_session_id=running.id)).focus_session
    assert stopped.state == state
    assert events(pomodoro_url, running.id)[-1] == (kind, 2)


async def test_the_start_is_that_of_the_device_by_which_the_user_started_it(
    calendar: Calendar, pomodoro_url: str
) -> None:
    session = (await calendar.start(device_id="phone")).focus_session
    with psycopg.connect(pomodoro_url) as connection:
        statement = "SELECT device_id FROM transitions WHERE session_id = %s::uuid"
        assert connection.execute(statement, (session.id,)).fetchone() == ("phone",)


async def test_a_user_cannot_call_it(channel: grpc.aio.Channel, laptop: Device, signer: Signer) -> None:
    request = pb.StartPlannedSessionRequest(user_id=laptop.user_id)
    with refused("INTERNAL_ONLY"):
        await PlannedSessionServiceStub(channel).StartPlannedSession(
            request, metadata=[("authorization", f"Bearer {signer.token(sub=laptop.user_id)}")]
        )
