"""Occurrences are started as focus sessions, with the real pomodoro beside the calendar, and follow them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import grpc
import pytest
from focusmesh.calendar.v1 import event_pb2, event_service_pb2
from focusmesh.calendar.v1 import occurrence_service_pb2 as pb
from focusmesh.pomodoro.v1 import focus_session_pb2, focus_session_service_pb2, focus_session_service_pb2_grpc
from focusmesh.todo.v1 import task_service_pb2, task_service_pb2_grpc
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.database.pool import Database
from mesh.events import envelope
from mesh.events.envelope import Message
from mesh.events.inbox import Inbox
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from mesh.runtime.settings import ServiceSettings
from services.calendar.consumers import SessionFollower
from services.calendar.handlers.starting import StartingHandlers
from services.calendar.model import MOST_ROWS
from services.calendar.store import occurrences
from services.calendar.store.users import UserZones
from services.pomodoro import main as pomodoro
from services.pomodoro.settings import Settings as PomodoroSettings
from tests.contract.calendar.person import Person
from tests.support.databases import ServiceUrl, opened
from tests.support.errors import refused
from tests.support.serving import SignerKeys, serving, without_broker
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

PLANNED, COMPLETED = event_pb2.EVENT_STATE_PLANNED, event_pb2.EVENT_STATE_COMPLETED
RUNNING, PAUSED, FINISHED = (
    focus_session_pb2.FOCUS_SESSION_STATE_RUNNING,
    focus_session_pb2.FOCUS_SESSION_STATE_PAUSED,
    focus_session_pb2.FOCUS_SESSION_STATE_FINISHED,
)
DAILY = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY)
SLOTS = ("20260907T180000", "20260908T180000")


class Focus:
    """Pomodoro, as the user of a calendar sees it, and its events on their way to the calendar."""

    def __init__(self, settings: ServiceSettings, signer: Signer, pomodoro_db: Database, db: Database) -> None:
        self._settings, self._signer, self._pomodoro_db = settings, signer, pomodoro_db
        zones = UserZones(db, _nobody)
        self._inbox, self._last, self._passed = Inbox(db, [SessionFollower(zones, clock.now).subscription()]), 0, 0

    def now(self) -> int:
        """The clock of pomodoro."""
        return clock.now() + self._passed

    def pass_(self, seconds: int) -> None:
        """Moves it."""
        self._passed += seconds * SECOND

    async def serve(self) -> AsyncIterator[None]:
        """Runs it."""
        settings = PomodoroSettings(**vars(self._settings))
        async with serving(without_broker(pomodoro.build(settings, SignerKeys(self._signer), self.now))) as channel:
            self._channel = channel
            yield

    def of(self, person: Person) -> UserStub:
        """Somebody's sessions."""
        stub = focus_session_service_pb2_grpc.FocusSessionServiceStub(self._channel)
        return UserStub(stub, focus_session_service_pb2, self._signer, person.user_id)

    async def told(self) -> None:
        """Carries to the calendar what pomodoro has committed."""
        async with self._pomodoro_db.connection() as connection:
            cursor = await connection.execute(
                "SELECT seq, value FROM outbox WHERE seq > %s ORDER BY seq", (self._last,)
            )
            rows = await cursor.fetchall()
        for seq, value in rows:
            await self._inbox.apply([envelope.read(Message("session-events", 0, 0, b"", value, (), 0))])
            self._last = seq


async def _nobody(user_id: str) -> str | None:
    raise AssertionError(f"auth is asked for {user_id}")


@pytest.fixture
async def away(
    pomodoro_settings: ServiceSettings, service_url: ServiceUrl, signer: Signer, db: Database
) -> AsyncIterator[Focus]:
    """Pomodoro, which does not run."""
    async with opened(service_url("pomodoro"), "pomodoro") as pomodoro_db:
        yield Focus(pomodoro_settings, signer, pomodoro_db, db)


@pytest.fixture
async def focus(away: Focus) -> AsyncIterator[Focus]:
    """Pomodoro."""
    async for _ in away.serve():
        yield away


async def start(person: Person, occurrence_id: str, **fields: Any) -> pb.StartOccurrenceResponse:
    answer: pb.StartOccurrenceResponse = await person.occurrences.StartOccurrence(occurrence_id=occurrence_id, **fields)
    return answer


async def single(person: Person, **fields: Any) -> str:
    """The id of the occurrence of a new event of 50 minutes."""
    return f"{(await person.event(duration_minutes=50, **fields)).id}_{SLOTS[0]}"


async def sessions(focus: Focus, person: Person) -> list[focus_session_pb2.FocusSession]:
    return list((await focus.of(person).ListFocusSessions()).focus_sessions)


async def kinds(person: Person) -> list[str]:
    """What was published of the person's events, but that they are there."""
    return [each["event_type"] for each in await person.published()][1:]


async def test_an_occurrence_becomes_a_running_session_that_knows_its_plan(person: Person, focus: Focus) -> None:
    occurrence_id = await single(person)
    started = await start(person, occurrence_id)
    session = (await focus.of(person).GetFocusSession(focus_session_id=started.focus_session_id)).focus_session
    event_id, _, _ = occurrence_id.partition("_")
    assert started.is_new
    assert (session.state, session.title, session.focus_minutes) == (RUNNING, "Deep work", 25)
    assert (session.original_event_id, session.slot) == (event_id, "2026-09-07T18:00:00")
    assert (session.planned_start_time, session.planned_minutes) == (started.occurrence.start_time, 50)
    assert started.occurrence == await person.occurrence(occurrence_id)
    assert (started.occurrence.focus_session_id, started.occurrence.state) == (session.id, PLANNED)
    message = (await person.published())[-1]
    assert (message["event_type"], message["payload"]["occurrence"]["focus_session_id"]) == (
        "occurrence-started",
        session.id,
    )


async def test_a_second_start_returns_the_same_session_and_publishes_nothing(person: Person, focus: Focus) -> None:
    occurrence_id = await single(person)
    first = await start(person, occurrence_id)
    await focus.of(person).PauseFocusSession(focus_session_id=first.focus_session_id)
    again = await start(person, occurrence_id)
    assert (again.is_new, again.focus_session_id, again.occurrence) == (False, first.focus_session_id, first.occurrence)
    assert await kinds(person) == ["occurrence-started"]


async def test_twenty_parallel_starts_give_one_session(person: Person, focus: Focus) -> None:
    occurrence_id = await single(person, recurrence=DAILY)
    starts = await asyncio.gather(*(start(person, occurrence_id, timeout=8) for _ in range(20)))
    assert len({each.focus_session_id for each in starts}) == 1
    assert sum(each.is_new for each in starts) == 1
    assert len(await sessions(focus, person)) == 1
    assert await kinds(person) == ["occurrence-started"]


async def test_a_call_that_is_repeated_gets_its_response_again(person: Person, focus: Focus) -> None:
    occurrence_id, request_id = await single(person), new_id()
    first = await start(person, occurrence_id, request_id=request_id)
    await focus.of(person).FinishFocusSession(focus_session_id=first.focus_session_id)
    await focus.told()
    again = await start(person, occurrence_id, request_id=request_id)
    assert again == first


async def test_finishing_the_session_completes_the_occurrence(person: Person, focus: Focus) -> None:
    occurrence_id = await single(person)
    started = await start(person, occurrence_id)
    await focus.told()
    focus.pass_(60)
    await focus.of(person).FinishFocusSession(focus_session_id=started.focus_session_id)
    await focus.told()
    done = await person.occurrence(occurrence_id)
    assert (done.state, done.focus_session_id, done.HasField("complete_time")) == (
        COMPLETED,
        started.focus_session_id,
        True,
    )
    assert (await person.get(done.event_id)).state == COMPLETED
    assert await kinds(person) == ["occurrence-started", "occurrence-completed"]
    again = await start(person, occurrence_id)
    assert (again.is_new, again.focus_session_id) == (False, started.focus_session_id)


async def test_an_abandoned_session_leaves_the_occurrence_planned_and_it_starts_again(
    person: Person, focus: Focus
) -> None:
    occurrence_id = await single(person)
    first = await start(person, occurrence_id)
    await focus.of(person).FinishFocusSession(focus_session_id=first.focus_session_id)
    await focus.told()
    left = await person.occurrence(occurrence_id)
    assert (left.state, left.HasField("focus_session_id")) == (PLANNED, False)
    again = await start(person, occurrence_id)
    assert (again.is_new, again.focus_session_id != first.focus_session_id) == (True, True)
    await focus.told()
    assert (await person.occurrence(occurrence_id)).focus_session_id == again.focus_session_id
    assert await kinds(person) == ["occurrence-started", "event-updated", "occurrence-started"]


async def test_a_deleted_session_is_taken_from_its_occurrence_and_comes_back_with_its_completion(
    person: Person, focus: Focus
) -> None:
    occurrence_id = await single(person, recurrence=DAILY)
    session_id = (await start(person, occurrence_id)).focus_session_id
    focus.pass_(60)
    await focus.of(person).FinishFocusSession(focus_session_id=session_id)
    await focus.of(person).DeleteFocusSession(focus_session_id=session_id)
    await focus.told()
    gone = await person.occurrence(occurrence_id)
    assert (gone.state, gone.HasField("focus_session_id"), gone.HasField("complete_time")) == (PLANNED, False, False)
    await focus.of(person).UndeleteFocusSession(focus_session_id=session_id)
    await focus.told()
    back = await person.occurrence(occurrence_id)
    assert (back.state, back.focus_session_id) == (COMPLETED, session_id)


async def test_an_occurrence_that_was_completed_by_hand_stays_so_without_its_session(
    person: Person, focus: Focus
) -> None:
    occurrence_id = await single(person)
    session_id = (await start(person, occurrence_id)).focus_session_id
    await person.occurrences.CompleteOccurrence(occurrence_id=occurrence_id)
    await focus.of(person).DeleteFocusSession(focus_session_id=session_id)
    await focus.told()
    left = await person.occurrence(occurrence_id)
    assert (left.state, left.HasField("focus_session_id")) == (COMPLETED, False)


@pytest.mark.parametrize("end", ["FinishFocusSession", "DeleteFocusSession"])
async def test_a_session_that_is_gone_is_not_returned_though_the_calendar_has_not_heard_of_it(
    person: Person, focus: Focus, end: str
) -> None:
    occurrence_id = await single(person)
    first = await start(person, occurrence_id)
    await getattr(focus.of(person), end)(focus_session_id=first.focus_session_id)
    again = await start(person, occurrence_id)
    assert (again.is_new, again.focus_session_id != first.focus_session_id) == (True, True)
    await focus.told()
    assert (await person.occurrence(occurrence_id)).focus_session_id == again.focus_session_id
    assert len(await kinds(person)) == 2


async def test_an_occurrence_keeps_its_session_when_an_edit_gives_it_another_slot(person: Person, focus: Focus) -> None:
    series = await person.event(recurrence=DAILY)
    session_id = (await start(person, f"{series.id}_{SLOTS[1]}")).focus_session_id
    changes = event_service_pb2.EventChanges(update_mask=FieldMask(paths=["start"]), start="2026-09-08T19:00:00")
    edited = await person.events.UpdateEvent(
        event_id=series.id, scope=event_service_pb2.EVENT_SCOPE_FOLLOWING, slot="2026-09-08T18:00:00", changes=changes
    )
    moved = f"{edited.event.id}_20260908T190000"
    again = await start(person, moved)
    assert (edited.event.id != series.id, again.is_new, again.focus_session_id) == (True, False, session_id)
    focus.pass_(60)
    await focus.of(person).FinishFocusSession(focus_session_id=session_id)
    await focus.told()
    assert (await person.occurrence(moved)).state == COMPLETED
    assert len(await sessions(focus, person)) == 1


async def test_a_session_that_ends_while_an_edit_gives_its_occurrence_another_slot_completes_it_there(
    person: Person, focus: Focus, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = await person.event()
    session_id = (await start(person, f"{event.id}_{SLOTS[0]}")).focus_session_id
    await focus.told()
    focus.pass_(60)
    await focus.of(person).FinishFocusSession(focus_session_id=session_id)
    find = occurrences.find_of_session

    async def find_then_edit(*asked: Any) -> Any:
        found = await find(*asked)
        changes = event_service_pb2.EventChanges(update_mask=FieldMask(paths=["start"]), start="2026-09-07T19:00:00")
        await person.events.UpdateEvent(event_id=event.id, scope=event_service_pb2.EVENT_SCOPE_ALL, changes=changes)
        return found

    monkeypatch.setattr(occurrences, "find_of_session", find_then_edit)
    await focus.told()
    assert (await person.occurrence(f"{event.id}_20260907T190000")).state == COMPLETED


async def test_without_pomodoro_nothing_changes_and_the_retry_heals(person: Person, away: Focus) -> None:
    occurrence_id, request_id = await single(person), new_id()
    before = await person.occurrence(occurrence_id)
    with refused("POMODORO_UNAVAILABLE") as error:
        await start(person, occurrence_id, request_id=request_id, timeout=9)
    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert await person.occurrence(occurrence_id) == before
    assert await kinds(person) == []
    async for _ in away.serve():
        assert (await start(person, occurrence_id, request_id=request_id)).is_new
        assert len(await sessions(away, person)) == 1


@pytest.mark.parametrize("retried", [True, False])
async def test_a_calendar_that_dies_before_it_stores_the_link_loses_nothing(
    person: Person, focus: Focus, monkeypatch: pytest.MonkeyPatch, retried: bool
) -> None:
    occurrence_id = await single(person)
    link = StartingHandlers._link

    async def die(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(StartingHandlers, "_link", link)
        raise RuntimeError("killed")

    monkeypatch.setattr(StartingHandlers, "_link", die)
    with refused("INTERNAL"):
        await start(person, occurrence_id, request_id=new_id())
    [session] = await sessions(focus, person)
    assert not (await person.occurrence(occurrence_id)).HasField("focus_session_id")
    if retried:
        # Another title: what the caller has forgotten does not matter.
        again = await start(person, occurrence_id, when_running=pb.WHEN_SESSION_RUNS_FINISH_CURRENT)
        assert (again.is_new, again.focus_session_id) == (False, session.id)
    await focus.told()
    assert (await person.occurrence(occurrence_id)).focus_session_id == session.id
    assert await kinds(person) == ["occurrence-started"]
    assert len(await sessions(focus, person)) == 1


async def test_another_running_session_is_named_and_paused_or_finished_on_request(person: Person, focus: Focus) -> None:
    first, second = [f"{(await person.event(recurrence=DAILY)).id}_{slot}" for slot in SLOTS]
    running = await start(person, first)
    before = await person.occurrence(second)
    with refused("ANOTHER_SESSION_RUNNING", focus_session_id=running.focus_session_id, state="running") as error:
        await start(person, second)
    assert (error.code, error.domain) == (grpc.StatusCode.FAILED_PRECONDITION, "calendar.focusmesh")
    assert datetime.fromisoformat(error.metadata["interval_end_time"]) > datetime.fromisoformat("2026-01-01T00:00Z")
    assert await person.occurrence(second) == before
    await start(person, second, when_running=pb.WHEN_SESSION_RUNS_PAUSE_CURRENT)
    session = (await focus.of(person).GetFocusSession(focus_session_id=running.focus_session_id)).focus_session
    assert session.state == PAUSED
    third = f"{(await person.event()).id}_{SLOTS[0]}"
    focus.pass_(60)
    await start(person, third, when_running=pb.WHEN_SESSION_RUNS_FINISH_CURRENT)
    await focus.told()
    assert (await person.occurrence(second)).state == COMPLETED


async def test_what_cannot_be_started_is_refused_and_has_no_session(person: Person, focus: Focus) -> None:
    series = await person.event(recurrence=DAILY)
    cancelled, completed = [f"{series.id}_{slot}" for slot in SLOTS]
    await person.occurrences.CancelOccurrence(occurrence_id=cancelled)
    await person.occurrences.CompleteOccurrence(occurrence_id=completed)
    foreign, followed = await person.event(), await person.event()
    await person.follow(followed.id)
    other = await person.another()
    calls = {
        "OCCURRENCE_CANCELLED": (person, cancelled, {}),
        "OCCURRENCE_COMPLETED": (person, completed, {}),
        "OCCURRENCE_NOT_FOUND": (other, f"{foreign.id}_{SLOTS[0]}", {}),
        "EVENT_READ_ONLY": (person, f"{followed.id}_{SLOTS[0]}", {}),
        "VERSION_CONFLICT": (person, f"{foreign.id}_{SLOTS[0]}", {"etag": series.etag + "x"}),
    }
    for reason, (caller, occurrence_id, fields) in calls.items():
        with refused(reason):
            await start(caller, occurrence_id, **fields)
    assert await sessions(focus, person) == []


async def test_an_event_with_as_many_changes_as_it_may_have_starts_no_session(person: Person, focus: Focus) -> None:
    series = await person.event(recurrence=DAILY)
    await person.cancel_many(series.id, "2026-09-08T18:00:00", MOST_ROWS)
    with refused("TOO_MANY_CHANGES"):
        await start(person, f"{series.id}_{SLOTS[0]}")
    assert await sessions(focus, person) == []


async def test_the_session_has_the_task_of_its_event(
    person: Person, focus: Focus, todo_channel: grpc.aio.Channel, signer: Signer
) -> None:
    stub = task_service_pb2_grpc.TaskServiceStub(todo_channel)
    todo = UserStub(stub, task_service_pb2, signer, person.user_id)
    task = (await todo.CreateTask(title="Chapter 2")).task
    event = await person.event(recurrence=DAILY, todo_task_id=task.id)
    first, second = [f"{event.id}_{slot}" for slot in SLOTS]
    pause = {"when_running": pb.WHEN_SESSION_RUNS_PAUSE_CURRENT}

    async def tasks(occurrence_id: str) -> list[tuple[str, str]]:
        session_id = (await start(person, occurrence_id, **pause)).focus_session_id
        session = (await focus.of(person).GetFocusSession(focus_session_id=session_id)).focus_session
        return [(each.title, each.todo_task_id) for each in session.tasks]

    assert await tasks(first) == [("Chapter 2", task.id)]
    await todo.DeleteTask(task_id=task.id)
    assert await tasks(second) == []


async def test_without_todo_the_task_of_the_session_is_called_as_the_occurrence(
    person: Person, focus: Focus, db: Database
) -> None:
    event, task_id = await person.event(), new_id()
    async with db.connection() as connection:
        await connection.execute("UPDATE events SET todo_task_id = %s::uuid WHERE id = %s::uuid", (task_id, event.id))
    session_id = (await start(person, f"{event.id}_{SLOTS[0]}")).focus_session_id
    session = (await focus.of(person).GetFocusSession(focus_session_id=session_id)).focus_session
    assert [(each.title, each.todo_task_id) for each in session.tasks] == [("Deep work", task_id)]


async def test_sessions_of_events_and_users_that_are_gone_are_passed_over(
    person: Person, focus: Focus, db: Database
) -> None:
    gone = await single(person)
    await start(person, gone)
    async with db.connection() as connection:
        await connection.execute("DELETE FROM events WHERE user_id = %s::uuid", (person.user_id,))
    await focus.told()
    other = await person.another()
    await start(other, await single(other))
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET is_deleted = true WHERE user_id = %s::uuid", (other.user_id,))
    focus.pass_(60)
    [session] = await sessions(focus, other)
    await focus.of(other).FinishFocusSession(focus_session_id=session.id)
    await focus.told()
    assert await kinds(other) == ["occurrence-started"]
