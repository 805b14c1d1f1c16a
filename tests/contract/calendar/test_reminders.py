"""Which reminders of events wait, as their user sees it."""

from typing import Any

from focusmesh.calendar.v1 import event_pb2, event_service_pb2

from tests.contract.calendar.person import Person, timestamp

TEN_MINUTES = event_pb2.EventReminder(offset="-PT10M", channel=event_pb2.REMINDER_CHANNEL_EMAIL)
DAY_BEFORE = event_pb2.EventReminder(offset="-P1D", channel=event_pb2.REMINDER_CHANNEL_IN_APP)


async def upcoming(person: Person, **fields: Any) -> list[event_service_pb2.UpcomingReminder]:
    """The reminders that wait, on the first page."""
    return list((await person.events.ListUpcomingReminders(page_size=200, **fields)).upcoming_reminders)


async def test_of_each_reminder_the_next_firing_is_listed_the_next_one_first(person: Person) -> None:
    daily = await person.event(
        "2030-09-07T18:00:00", repeat_type=event_pb2.REPEAT_TYPE_DAILY, reminders=[TEN_MINUTES, DAY_BEFORE]
    )
    once = event_pb2.EventReminder(remind_time=timestamp("2030-09-06T20:00:00Z"))
    single = await person.event("2030-10-01T18:00:00", title="Once", reminders=[once])
    other = await person.another()
    await other.event(reminders=[TEN_MINUTES])

    listed = await upcoming(person)

    assert [(each.event_id, each.title, each.remind_time.ToJsonString()) for each in listed] == [
        (daily.id, "Deep work", "2030-09-06T16:00:00Z"),
        (single.id, "Once", "2030-09-06T20:00:00Z"),
        (daily.id, "Deep work", "2030-09-07T15:50:00Z"),
    ]
    assert [each.reminder.offset for each in listed] == ["-P1D", "", "-PT10M"]
    assert listed[2].reminder == TEN_MINUTES
    assert listed[0].occurrence_id == f"{daily.id}_20300907T180000"
    assert listed[0].start_time.ToJsonString() == "2030-09-07T16:00:00Z"
    assert not listed[1].HasField("occurrence_id")
    assert not listed[1].HasField("start_time")


async def test_a_changed_occurrence_is_reminded_of_as_it_takes_place(person: Person) -> None:
    daily = await person.event("2030-09-07T18:00:00", repeat_type=event_pb2.REPEAT_TYPE_DAILY, reminders=[TEN_MINUTES])
    first = f"{daily.id}_20300907T180000"
    await person.occurrences.MoveOccurrence(occurrence_id=first, start="2030-09-07T12:00:00")
    [listed] = await upcoming(person)
    assert (listed.occurrence_id, listed.remind_time.ToJsonString()) == (first, "2030-09-07T09:50:00Z")
    assert listed.start_time.ToJsonString() == "2030-09-07T10:00:00Z"

    await person.occurrences.CancelOccurrence(occurrence_id=first)
    [listed] = await upcoming(person)
    assert listed.occurrence_id == f"{daily.id}_20300908T180000"

    await person.occurrences.RestoreOccurrence(occurrence_id=first)
    [listed] = await upcoming(person)
    assert (listed.occurrence_id, listed.remind_time.ToJsonString()) == (first, "2030-09-07T15:50:00Z")

    await person.occurrences.CompleteOccurrence(occurrence_id=first)
    [listed] = await upcoming(person)
    assert listed.occurrence_id == f"{daily.id}_20300908T180000"

    await person.events.DeleteEvent(event_id=daily.id, scope=event_service_pb2.EVENT_SCOPE_ALL)
    assert await upcoming(person) == []
    await person.events.UndeleteEvent(event_id=daily.id)
    assert len(await upcoming(person)) == 1


async def test_the_list_has_pages(person: Person) -> None:
    for hour in range(5):
        await person.event(f"2030-09-07T1{hour}:00:00", reminders=[TEN_MINUTES, DAY_BEFORE])

    found, token = [], ""
    while True:
        page = await person.events.ListUpcomingReminders(page_size=3, page_token=token)
        found += page.upcoming_reminders
        token = page.next_page_token
        if not token:
            break

    assert found == await upcoming(person)
    assert len(found) == 10
    assert [each.remind_time.ToNanoseconds() for each in found] == sorted(
        each.remind_time.ToNanoseconds() for each in found
    )
