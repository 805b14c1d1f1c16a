"""What conflicts, what is free, and where a task is planned: in Zurich, in a week whose Sunday has 23 hours."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import psycopg
import pytest
from focusmesh.calendar.v1 import event_pb2
from focusmesh.calendar.v1 import planning_service_pb2 as pb
from focusmesh.todo.v1 import task_pb2, task_service_pb2
from focusmesh.todo.v1.task_service_pb2_grpc import TaskServiceStub
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.runtime.ids import new_id
from services.calendar.store import windows
from tests.contract.calendar.person import Person
from tests.support.databases import ServiceUrl
from tests.support.errors import refused
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

DAILY = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY)
WEEKEND = [recurrence_pb2.WEEKDAY_SATURDAY, recurrence_pb2.WEEKDAY_SUNDAY]


def at(text: str) -> Timestamp:
    """A UTC time of March 2030, such as `25T08:00`."""
    return Timestamp(seconds=int(datetime.fromisoformat(f"2030-03-{text}").replace(tzinfo=UTC).timestamp()))


def span(message: Any) -> tuple[str, str]:
    """Begin and end of a message, as UTC times of the month."""
    return tuple(each.ToDatetime().strftime("%dT%H:%M") for each in (message.start_time, message.end_time))


def window(begin: str, end: str) -> dict[str, Timestamp]:
    return {"start_time": at(begin), "end_time": at(end)}


class TestFindConflicts:
    """Occurrences that overlap."""

    async def titles(self, person: Person, begin: str, end: str, **fields: Any) -> list[tuple[str, str]]:
        found = (await person.planning.FindConflicts(**window(begin, end), **fields)).conflicts
        return [(each.occurrence.title, each.other.title) for each in found]

    def delete_meanwhile(self, person: Person, event_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Deletes an event after its conflicts were found, before they are shown."""
        read_found = windows.read

        async def read_late(*args: Any) -> dict[tuple[str, str], windows.Found]:
            monkeypatch.setattr(windows, "read", read_found)
            await person.events.DeleteEvent(event_id=event_id)
            return await read_found(*args)

        monkeypatch.setattr(windows, "read", read_late)

    async def test_a_conflict_shows_both_and_the_time_that_they_share(self, person: Person) -> None:
        first = await person.event("2030-03-25T09:00:00", title="First", duration_minutes=90, repeat_type=2)
        second = await person.event("2030-03-25T10:00:00", title="Second", duration_minutes=60, description="long")
        (conflict,) = (await person.planning.FindConflicts(**window("25T00:00", "27T00:00"))).conflicts
        assert span(conflict) == ("25T09:00", "25T09:30")
        assert (conflict.occurrence.event_id, conflict.other.event_id) == (first.id, second.id)
        assert span(conflict.occurrence) == ("25T08:00", "25T09:30")
        assert (conflict.other.title, conflict.other.HasField("description")) == ("Second", False)

    async def test_what_touches_or_takes_whole_days_or_no_time_or_is_cancelled_does_not_conflict(
        self, person: Person, calendar_url: str
    ) -> None:
        await person.event("2030-03-25T09:00:00", duration_minutes=60)
        await person.event("2030-03-25T10:00:00", duration_minutes=60)
        await person.event("2030-03-25")
        instant = await person.event("2030-03-25T09:30:00")
        cancelled = await person.event("2030-03-25T09:30:00")
        with psycopg.connect(calendar_url) as connection:
            connection.execute("UPDATE events SET length_seconds = 0 WHERE id = %s", (instant.id,))
            put_row(connection, cancelled, "2030-03-25T09:30:00", status="cancelled")
        assert await self.titles(person, "25T00:00", "26T00:00") == []

    async def test_an_occurrence_counts_where_it_was_moved_to(self, person: Person, calendar_url: str) -> None:
        event = await person.event("2030-03-25T09:00:00", title="Moved", recurrence=DAILY)
        await person.event("2030-03-25T09:00:00", title="There")
        await person.event("2030-03-25T20:00:00", title="Here")
        with psycopg.connect(calendar_url) as connection:
            put_row(
                connection, event, "2030-03-25T09:00:00", start_slot="2030-03-25T20:10:00", start_time=at("25T19:10")
            )
        assert await self.titles(person, "25T00:00", "26T00:00") == [("Here", "Moved")]

    async def test_pages_show_each_pair_once_in_order(self, person: Person) -> None:
        for number in range(4):
            await person.event(f"2030-03-25T09:0{number}:00", title=str(number), duration_minutes=60, recurrence=DAILY)
        everything = await self.titles(person, "25T00:00", "28T00:00")
        pairs = [(str(one), str(other)) for other in range(4) for one in range(other)]
        assert everything == pairs * 3
        shown: list[tuple[str, str]] = []
        token = ""
        for _ in range(4):
            page = await person.planning.FindConflicts(**window("25T00:00", "28T00:00"), page_size=5, page_token=token)
            shown += [(each.occurrence.title, each.other.title) for each in page.conflicts]
            token = page.next_page_token
        assert (shown, token) == (everything, "")

    async def test_pages_lead_on_past_conflicts_that_end_while_they_are_read(
        self, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = [
            await person.event(f"2030-03-25T09:0{number}:00", title=str(number), duration_minutes=60)
            for number in range(4)
        ]
        asked = window("25T00:00", "26T00:00") | {"page_size": 4}
        self.delete_meanwhile(person, made[0].id, monkeypatch)
        first = await person.planning.FindConflicts(**asked)
        second = await person.planning.FindConflicts(**asked, page_token=first.next_page_token)
        shown = [(each.occurrence.title, each.other.title) for each in (*first.conflicts, *second.conflicts)]
        assert shown == [("1", "2"), ("1", "3"), ("2", "3")]

    async def test_the_last_page_has_no_token_though_a_conflict_ended(
        self, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = [await person.event("2030-03-25T09:00:00") for _ in range(2)]
        self.delete_meanwhile(person, made[0].id, monkeypatch)
        found = await person.planning.FindConflicts(**window("25T00:00", "26T00:00"))
        assert (list(found.conflicts), found.next_page_token) == ([], "")

    async def test_a_draft_conflicts_with_what_takes_place_in_it(self, person: Person) -> None:
        moved = await person.event("2030-03-25T09:00:00", title="Moved", duration_minutes=60)
        await person.event("2030-03-25T09:30:00", title="Other", duration_minutes=60)
        await person.event("2030-03-25T11:00:00", title="After", duration_minutes=60)
        draft = window("25T08:45", "25T10:00") | {"is_draft": True}
        found = (await person.planning.FindConflicts(**draft)).conflicts
        assert [each.occurrence.title for each in found] == ["Moved", "Other"]
        assert [span(each) for each in found] == [("25T08:45", "25T09:00"), ("25T08:45", "25T09:30")]
        assert not found[0].HasField("other")
        (one,) = (await person.planning.FindConflicts(**draft, except_event_id=moved.id)).conflicts
        assert one.occurrence.title == "Other"
        first = await person.planning.FindConflicts(**draft, page_size=1)
        second = await person.planning.FindConflicts(**draft, page_size=1, page_token=first.next_page_token)
        assert [*first.conflicts, *second.conflicts] == list(found)
        assert not second.next_page_token

    async def test_events_of_subscriptions_count_and_those_of_others_do_not(
        self, person: Person, calendar_url: str
    ) -> None:
        event = await person.event("2030-03-25T09:00:00", title="Mine")
        other = await person.event("2030-03-25T09:00:00", title="Subscribed")
        await (await person.another()).event("2030-03-25T09:00:00")
        with psycopg.connect(calendar_url) as connection:
            connection.execute("UPDATE events SET subscription_id = %s, uid = 'x' WHERE id = %s", (new_id(), other.id))
        assert await self.titles(person, "25T00:00", "26T00:00") == [("Mine", "Subscribed")]
        assert await self.titles(person, "25T00:00", "26T00:00", except_event_id=event.id) == []

    async def test_a_page_token_of_another_window_is_refused(self, person: Person) -> None:
        for _ in range(3):
            await person.event("2030-03-25T09:00:00")
        page = await person.planning.FindConflicts(**window("25T00:00", "26T00:00"), page_size=1)
        with refused("PAGE_TOKEN_INVALID"):
            await self.titles(person, "25T00:00", "27T00:00", page_token=page.next_page_token)


class TestFindFreeTime:
    """Times in which nothing takes place."""

    async def times(self, person: Person, begin: str, end: str, **fields: Any) -> list[tuple[str, str]]:
        found = await person.planning.FindFreeTime(**window(begin, end), **fields)
        return [span(each) for each in found.free_times]

    async def test_it_is_what_working_hours_leave_on_both_sides_of_a_change_of_the_clock(self, person: Person) -> None:
        await person.event("2030-03-25T11:00:00", duration_minutes=120, recurrence=DAILY)
        await person.event("2030-03-29")
        assert await self.times(person, "28T12:00", "31T00:00") == [
            ("28T12:00", "28T16:00"),
            ("29T08:00", "29T10:00"),
            ("29T12:00", "29T16:00"),
        ]
        hours = pb.WorkingHours(start="09:00", end="17:00", days=WEEKEND)
        assert await self.times(person, "29T00:00", "31T23:00", working_hours=hours) == [
            ("30T08:00", "30T10:00"),
            ("30T12:00", "30T16:00"),
            ("31T07:00", "31T09:00"),
            ("31T11:00", "31T15:00"),
        ]

    async def test_short_times_are_left_out_and_blocks_have_the_length_that_is_asked_for(self, person: Person) -> None:
        await person.event("2030-03-25T09:20:00", duration_minutes=100)
        assert await self.times(person, "25T00:00", "25T11:00") == [("25T10:00", "25T11:00")]
        assert await self.times(person, "25T00:00", "25T11:00", minutes=20) == [
            ("25T08:00", "25T08:20"),
            ("25T10:00", "25T11:00"),
        ]
        assert await self.times(person, "25T00:00", "25T11:00", in_blocks=True) == [
            ("25T10:00", "25T10:25"),
            ("25T10:25", "25T10:50"),
        ]

    async def test_the_count_is_kept_and_more_is_said(self, person: Person) -> None:
        found = await person.planning.FindFreeTime(**window("25T00:00", "26T00:00"), in_blocks=True, count=3)
        assert (len(found.free_times), found.has_more) == (3, True)
        rest = window("25T00:00", "26T00:00") | {"start_time": found.free_times[-1].end_time}
        found = await person.planning.FindFreeTime(**rest, in_blocks=True)
        assert (len(found.free_times), found.has_more) == (16, False)

    async def test_hours_are_on_the_clock_of_the_zone_that_is_named(self, person: Person) -> None:
        hours = pb.WorkingHours(start="22:00", end="06:00", days=[recurrence_pb2.WEEKDAY_MONDAY])
        found = await self.times(person, "25T00:00", "27T00:00", time_zone="Asia/Tokyo", working_hours=hours)
        assert found == [("25T13:00", "25T21:00")]

    async def test_an_unknown_zone_is_refused(self, person: Person) -> None:
        with refused("TIME_ZONE_UNKNOWN", time_zone="Mars/Base") as error:
            await self.times(person, "25T00:00", "26T00:00", time_zone="Mars/Base")
        assert error.fields == ["time_zone"]

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"minutes": 0}, "minutes"),
            ({"minutes": 1441}, "minutes"),
            ({"count": -1}, "count"),
            ({"working_hours": pb.WorkingHours(start="9:00", end="17:00")}, "working_hours.start"),
            ({"working_hours": pb.WorkingHours(start="09:00", end="24:00")}, "working_hours.end"),
            ({"end_time": at("25T00:00")}, "end_time"),
            ({"end_time": Timestamp(seconds=at("25T00:00").seconds + 62 * 86_400 + 1)}, "end_time"),
        ],
    )
    async def test_what_cannot_be_is_refused_by_name(self, person: Person, fields: dict[str, Any], named: str) -> None:
        with refused("INVALID_REQUEST") as error:
            await person.planning.FindFreeTime(**(window("25T00:00", "26T00:00") | fields))
        assert error.fields == [named]


TaskMaker = Callable[..., Awaitable[task_pb2.Task]]


@pytest.fixture
def a_task(person: Person, todo_channel: grpc.aio.Channel, signer: Signer) -> TaskMaker:
    """Makes a task of the person in todo."""
    todo = UserStub(TaskServiceStub(todo_channel), task_service_pb2, signer, person.user_id)

    async def make(title: str = "Write", **fields: Any) -> task_pb2.Task:
        made: task_pb2.Task = (await todo.CreateTask(title=title, **fields)).task
        return made

    return make


class TestPlanTask:
    """A focus block for a task, in the first free time."""

    async def test_it_is_an_event_for_the_task_in_the_first_free_time_that_is_long_enough(
        self, person: Person, a_task: TaskMaker, calendar_url: str
    ) -> None:
        task = await a_task("Write the report", estimated_pomodoros=3)
        await person.event("2030-03-25T09:30:00", duration_minutes=60)
        reminder = event_pb2.EventReminder(offset="-PT10M", channel=event_pb2.REMINDER_CHANNEL_EMAIL)
        planned = await person.planning.PlanTask(
            todo_task_id=task.id, **window("25T00:00", "29T00:00"), reminders=[reminder]
        )
        event = planned.event
        assert await person.get(event.id) == event
        assert (event.title, event.todo_task_id, event.duration_minutes) == ("Write the report", task.id, 75)
        assert (event.start, event.time_zone, list(event.reminders)) == (
            "2030-03-25T10:30:00",
            "Europe/Zurich",
            [reminder],
        )
        assert published(calendar_url, event.id) == ["event-created"]

    async def test_its_hours_and_its_start_are_on_the_clock_of_the_zone_that_is_named(
        self, person: Person, a_task: TaskMaker
    ) -> None:
        planned = await person.planning.PlanTask(
            todo_task_id=(await a_task()).id,
            minutes=30,
            time_zone="Asia/Tokyo",
            working_hours=pb.WorkingHours(start="22:15", end="06:00"),
            **window("25T00:00", "29T00:00"),
        )
        event = planned.event
        assert (event.start, event.time_zone, event.duration_minutes) == ("2030-03-25T22:15:00", "Asia/Tokyo", 30)

    async def test_it_is_never_in_the_past_and_before_the_task_is_due(self, person: Person, a_task: TaskMaker) -> None:
        now = datetime.now(UTC)
        always = pb.WorkingHours(start="00:00", end="00:00", days=recurrence_pb2.Weekday.values()[1:])
        task = await a_task(due_time=now + timedelta(minutes=40))
        yesterday = Timestamp(seconds=int(now.timestamp()) - 86_400)
        first = await person.planning.PlanTask(todo_task_id=task.id, working_hours=always, start_time=yesterday)
        start = first.event.scheduled_start_time.ToDatetime(tzinfo=UTC)
        assert now <= start <= now + timedelta(minutes=2)
        assert (start.second, start.microsecond) == (0, 0)
        with refused("NO_FREE_TIME", minutes="25"):
            await person.planning.PlanTask(todo_task_id=task.id, working_hours=always)

    async def test_calls_at_once_choose_different_times(self, person: Person, a_task: TaskMaker) -> None:
        task = await a_task()
        plans = await asyncio.gather(
            *(person.planning.PlanTask(todo_task_id=task.id, **window("25T00:00", "26T00:00")) for _ in range(8))
        )
        starts = sorted(plan.event.start for plan in plans)
        first = datetime.fromisoformat("2030-03-25T09:00:00")
        assert starts == [(first + timedelta(minutes=25 * number)).isoformat() for number in range(8)]
        assert not (await person.planning.FindConflicts(**window("25T00:00", "26T00:00"))).conflicts

    async def test_a_repeated_request_plans_once(self, person: Person, a_task: TaskMaker) -> None:
        request = {"todo_task_id": (await a_task()).id, "request_id": new_id(), **window("25T00:00", "26T00:00")}
        first, again = [await person.planning.PlanTask(**request) for _ in range(2)]
        assert first == again
        assert len((await person.events.ListEvents()).events) == 1

    async def test_nothing_is_planned_where_nothing_is_free(self, person: Person, a_task: TaskMaker) -> None:
        task = await a_task()
        await person.event("2030-03-25T09:00:00", duration_minutes=470)
        with refused("NO_FREE_TIME", minutes="25"):
            await person.planning.PlanTask(todo_task_id=task.id, **window("25T00:00", "26T00:00"))
        assert len((await person.events.ListEvents()).events) == 1

    async def test_the_search_waits_for_no_change_of_the_user_and_lets_none_wait(
        self, person: Person, a_task: TaskMaker, calendar_url: str
    ) -> None:
        task = await a_task()
        await person.event("2030-03-25T09:00:00", duration_minutes=470)
        with psycopg.connect(calendar_url) as changing:
            changing.execute("SELECT FROM users WHERE user_id = %s FOR UPDATE", (person.user_id,))
            with refused("NO_FREE_TIME", minutes="25"):
                await person.planning.PlanTask(todo_task_id=task.id, **window("25T00:00", "26T00:00"))

    async def test_another_users_task_is_missing(self, person: Person, a_task: TaskMaker) -> None:
        task, other = await a_task(), await person.another()
        with refused("TODO_TASK_NOT_FOUND", todo_task_id=task.id):
            await other.planning.PlanTask(todo_task_id=task.id)

    async def test_nothing_is_planned_while_todo_is_away(self, person: Person) -> None:
        with refused("TODO_UNAVAILABLE"):
            await person.planning.PlanTask(todo_task_id=new_id())

    @pytest.mark.parametrize(
        ("fields", "reason", "named"),
        [
            ({"time_zone": "Mars/Base"}, "TIME_ZONE_UNKNOWN", "time_zone"),
            ({"reminders": [event_pb2.EventReminder(offset="soon")]}, "INVALID_REQUEST", "reminders[0].offset"),
            ({"minutes": 1441}, "INVALID_REQUEST", "minutes"),
            ({"end_time": at("26T00:00")}, "INVALID_REQUEST", "end_time"),
        ],
    )
    async def test_what_cannot_be_is_refused_by_name(
        self, person: Person, a_task: TaskMaker, fields: dict[str, Any], reason: str, named: str
    ) -> None:
        with refused(reason) as error:
            await person.planning.PlanTask(todo_task_id=(await a_task()).id, **fields)
        assert error.fields == [named]
        assert not (await person.events.ListEvents()).events


@pytest.fixture
def calendar_url(service_url: ServiceUrl) -> str:
    """Connection string of the role of the calendar."""
    return service_url("calendar")


def put_row(connection: psycopg.Connection[Any], event: event_pb2.Event, slot: str, **values: Any) -> None:
    """What one occurrence has of its own."""
    values = {
        name: each.ToDatetime(tzinfo=UTC) if isinstance(each, Timestamp) else each for name, each in values.items()
    }
    names = ", ".join(values)
    connection.execute(
        f"INSERT INTO occurrences (event_id, slot, user_id, {names})"
        f" SELECT id, %s, user_id, {', '.join(['%s'] * len(values))} FROM events WHERE id = %s",
        (slot, *values.values(), event.id),
    )


def published(url: str, event_id: str) -> list[str]:
    """Types of the messages about an event that wait in the outbox."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT convert_from(value, 'UTF8')::jsonb ->> 'type' FROM outbox"
            " WHERE convert_from(value, 'UTF8')::jsonb ->> 'subject' = %s ORDER BY seq",
            (event_id,),
        )
        return [kind for (kind,) in rows]
