"""Events are created, read and listed."""

from typing import Any

import grpc
import pytest
from focusmesh.calendar.v1 import event_pb2
from focusmesh.calendar.v1 import event_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2
from focusmesh.todo.v1.task_service_pb2_grpc import TaskServiceStub
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.calendar.store import users
from tests.contract.calendar.person import Person
from tests.support.errors import refused
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub


async def test_a_created_event_is_read_as_it_was_answered(person: Person) -> None:
    event = await person.event(
        description="Quiet",
        location="Library",
        duration_minutes=50,
        repeat_type=event_pb2.REPEAT_TYPE_WEEKLY,
        reminders=[event_pb2.EventReminder(offset="-PT15M")],
    )

    assert await person.get(event.id) == event
    assert (event.title, event.description, event.location) == ("Deep work", "Quiet", "Library")
    assert (event.start, event.time_zone, event.duration_minutes) == ("2026-09-07T18:00:00", "Europe/Zurich", 50)
    assert event.scheduled_start_time.ToJsonString() == "2026-09-07T16:00:00Z"
    assert event.recurrence.frequency == recurrence_pb2.FREQUENCY_WEEKLY
    assert event.reminders[0].channel == event_pb2.REMINDER_CHANNEL_IN_APP
    assert event.state == event_pb2.EVENT_STATE_PLANNED
    assert not event.HasField("series_id")


async def test_an_all_day_event_floats_and_takes_a_day(person: Person) -> None:
    event = await person.event("2026-09-07")

    assert event.is_all_day
    assert event.duration_minutes == 1440
    assert not event.HasField("time_zone")
    assert event.scheduled_start_time.ToJsonString() == "2026-09-06T22:00:00Z"


async def test_events_are_listed_newest_first_in_pages(person: Person) -> None:
    made = [await person.event(title=f"Event {number}") for number in range(3)]

    first = await person.events.ListEvents(page_size=2)
    second = await person.events.ListEvents(page_size=2, page_token=first.next_page_token)

    assert [event.id for event in (*first.events, *second.events)] == [event.id for event in reversed(made)]
    assert not second.next_page_token


async def test_a_page_of_long_events_ends_where_its_response_would_be_too_large(person: Person, db: Database) -> None:
    async with db.connection() as connection:
        await connection.execute(
            """
            INSERT INTO events (user_id, title, description, scheduled_start, status, start_slot,
                length_days, length_seconds, series_id)
            SELECT %s::uuid, repeat('😀', 255), repeat('😀', 10000), now(), 'planned', '2026-09-07', 1, 0, uuidv7()
            FROM generate_series(1, 200)""",
            (person.user_id,),
        )

    found, token = 0, ""
    while found < 200:
        page = await person.events.ListEvents(page_size=200, page_token=token)
        assert 0 < len(page.events) < 100
        found, token = found + len(page.events), page.next_page_token
    assert not token


async def test_events_are_filtered(person: Person) -> None:
    cancelled = await person.event()
    await person.events.DeleteEvent(event_id=cancelled.id, scope=pb.EVENT_SCOPE_THIS, slot=cancelled.start)
    planned = await person.event()

    async def listed(**fields: Any) -> list[str]:
        return [event.id for event in (await person.events.ListEvents(**fields)).events]

    assert await listed(states=[event_pb2.EVENT_STATE_PLANNED]) == [planned.id]
    assert await listed(states=[event_pb2.EVENT_STATE_CANCELLED]) == [cancelled.id]
    assert await listed(todo_task_id=new_id()) == []
    assert await listed(subscription_id=new_id()) == []
    assert await listed() == [planned.id, cancelled.id]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"start": "2026-02-30"}, "start"),
        ({"start": "2026-09-07T24:00:00"}, "start"),
        ({"start": "1899-12-31"}, "start"),
        ({"start": "9999-12-31"}, "start"),
        ({"start": "2026-09-07", "time_zone": "Europe/Zurich"}, "time_zone"),
        ({"start": "2026-09-07", "duration_minutes": 90}, "duration_minutes"),
        ({"reminders": [event_pb2.EventReminder(offset="-P400D")]}, "reminders[0].offset"),
        ({"reminders": [event_pb2.EventReminder(offset="PT0S")] * 2}, "reminders[1]"),
        (
            {"repeat_type": event_pb2.REPEAT_TYPE_DAILY, "repeat_until_time": Timestamp(seconds=1)},
            "recurrence.frequency",
        ),
        (
            {"recurrence": recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY, by_month_day=[1])},
            "recurrence.by_month_day",
        ),
        (
            {"recurrence": recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_MONTHLY, by_month_day=[8])},
            "start",
        ),
    ],
)
async def test_a_bad_event_is_refused_by_field_and_nothing_is_created(
    person: Person, fields: dict[str, Any], named: str
) -> None:
    with refused("INVALID_REQUEST") as error:
        await person.event(**fields)

    assert error.fields == [named]
    assert not (await person.events.ListEvents()).events


async def test_a_time_zone_that_does_not_exist_is_refused(person: Person) -> None:
    with refused("TIME_ZONE_UNKNOWN", time_zone="Europe/Nowhere") as error:
        await person.event(time_zone="Europe/Nowhere")
    assert error.fields == ["time_zone"]


@pytest.mark.usefixtures("todo_channel")
async def test_an_event_may_be_for_a_task_of_its_user(
    person: Person, todo_channel: grpc.aio.Channel, signer: Signer
) -> None:
    todo = UserStub(TaskServiceStub(todo_channel), task_service_pb2, signer, person.user_id)
    task = (await todo.CreateTask(title="Write")).task

    event = await person.event(todo_task_id=task.id)
    assert event.todo_task_id == task.id
    assert [each.id for each in (await person.events.ListEvents(todo_task_id=task.id)).events] == [event.id]

    other = await person.another()
    with refused("TODO_TASK_NOT_FOUND"):
        await other.event(todo_task_id=task.id)
    await todo.DeleteTask(task_id=task.id)
    with refused("TODO_TASK_NOT_FOUND"):
        await person.event(todo_task_id=task.id)


async def test_the_first_call_of_somebody_unknown_while_auth_is_away_makes_nothing(
    channel: grpc.aio.Channel, signer: Signer, db: Database
) -> None:
    newcomer = Person(channel, signer, db)

    with refused("UNAVAILABLE"):
        await newcomer.event()
    assert not (await newcomer.events.ListEvents()).events


async def test_nothing_is_created_for_an_account_that_was_deleted(person: Person, db: Database) -> None:
    async with db.connection() as connection:
        await users.mark_deleted(connection, person.user_id)

    with refused("UNAVAILABLE"):  # auth, which would say that there is no such account, is away
        await person.event()
    assert not (await person.events.ListEvents()).events


async def test_another_users_event_is_missing(person: Person) -> None:
    event = await person.event()
    other = await person.another()

    with refused("EVENT_NOT_FOUND", event_id=event.id):
        await other.events.GetEvent(event_id=event.id)
    assert not (await other.events.ListEvents()).events


@pytest.mark.usefixtures("todo_channel")
async def test_an_event_is_for_a_task_of_its_user_only(person: Person) -> None:
    task_id = new_id()
    with refused("TODO_TASK_NOT_FOUND", todo_task_id=task_id) as error:
        await person.event(todo_task_id=task_id)
    assert error.fields == ["todo_task_id"]


async def test_nothing_is_created_for_a_task_while_todo_is_away(person: Person) -> None:
    with refused("TODO_UNAVAILABLE"):
        await person.event(todo_task_id=new_id())
    assert not (await person.events.ListEvents()).events


async def test_a_repeated_request_creates_one_event(person: Person) -> None:
    request_id = new_id()

    first = await person.event(request_id=request_id)
    again = await person.event(request_id=request_id)

    assert again == first
    assert len((await person.events.ListEvents()).events) == 1
