"""Events are created, read and listed."""

import pytest
from focusmesh.calendar.v1 import event_pb2
from focusmesh.type.v1 import recurrence_pb2

from mesh.runtime.ids import new_id
from tests.contract.calendar.person import Person
from tests.support.errors import refused


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
