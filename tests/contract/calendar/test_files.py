"""Files of iCalendar, imported and exported."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from focusmesh.calendar.v1 import calendar_file_service_pb2 as pb
from focusmesh.calendar.v1 import event_pb2, event_service_pb2
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.rpc.etag import etag
from services.calendar.rules.ical.content import MOST_COMPONENTS
from tests.contract.calendar.person import Person
from tests.support.errors import refused
from tests.support.imported import a_case, a_file

WINDOW = ("2026-05-01T00:00:00Z", "2026-12-01T00:00:00Z")
DAILY = """
UID:run@example.org
DTSTAMP:20260101T000000Z
SUMMARY:Run
DESCRIPTION:Along the lake\\, slowly
LOCATION:Zurich
DTSTART;TZID=Europe/Zurich:20260601T070000
DURATION:PT45M
RRULE:FREQ=DAILY;COUNT=4
EXDATE;TZID=Europe/Zurich:20260602T070000
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT15M
END:VALARM
"""
MOVED = """
UID:run@example.org
DTSTAMP:20260101T000000Z
RECURRENCE-ID;TZID=Europe/Zurich:20260603T070000
SUMMARY:Run, later
DTSTART;TZID=Europe/Zurich:20260603T190000
DURATION:PT45M
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT15M
END:VALARM
"""


async def imported(person: Person, *components: str, **fields: Any) -> pb.ImportEventsResponse:
    """What became of a file of these events."""
    response: pb.ImportEventsResponse = await person.files.ImportEvents(content=a_file(*components).encode(), **fields)
    return response


async def exported(person: Person, **fields: Any) -> str:
    """All pages, one after the other."""
    text, token = "", ""
    while True:
        page = await person.files.ExportEvents(page_token=token, **fields)
        text, token = text + page.text, page.next_page_token
        if not token:
            return text


async def starts(person: Person) -> list[tuple[str, str]]:
    """Start and title of what takes place and is not cancelled."""
    found = await person.listed(*WINDOW)
    return [(each.start_time.ToJsonString(), each.title) for each in found if each.state == 1]


async def test_an_imported_event_takes_place_as_its_file_says(person: Person) -> None:
    response = await imported(person, DAILY, MOVED)

    assert (response.created_count, response.issue_count) == (1, 0)
    assert await starts(person) == [
        ("2026-06-01T05:00:00Z", "Run"),
        ("2026-06-03T17:00:00Z", "Run, later"),
        ("2026-06-04T05:00:00Z", "Run"),
    ]
    (message,) = await person.published()
    assert message["event_type"] == "event-created"
    event = await person.get(message["calendar_event_id"])
    assert (event.uid, event.location, event.duration_minutes) == ("run@example.org", "Zurich", 45)
    assert [reminder.offset for reminder in event.reminders] == ["-PT15M"]


async def test_a_dry_run_says_the_same_and_changes_nothing(person: Person) -> None:
    dry = await imported(person, DAILY, "UID:x@example.org\nDTSTART:never", dry_run=True)
    assert (dry.created_count, dry.not_imported_count, dry.issues[0].property) == (1, 1, "DTSTART")
    assert await starts(person) == []
    assert await person.published() == []
    assert await imported(person, DAILY, "UID:x@example.org\nDTSTART:never") == dry


async def test_the_same_file_again_changes_nothing_and_a_newer_one_updates(person: Person) -> None:
    await imported(person, DAILY, MOVED)
    again = await imported(person, DAILY, MOVED)
    assert (again.created_count, again.updated_count, again.unchanged_count) == (0, 0, 1)

    newer = await imported(person, DAILY.replace("SUMMARY:Run", "SUMMARY:Swim\nSEQUENCE:1"))
    assert (newer.created_count, newer.updated_count, newer.unchanged_count) == (0, 1, 0)
    assert await starts(person) == [
        ("2026-06-01T05:00:00Z", "Swim"),
        ("2026-06-03T05:00:00Z", "Swim"),
        ("2026-06-04T05:00:00Z", "Swim"),
    ]
    older = await imported(person, DAILY)
    assert older.unchanged_count == 1
    assert [message["event_type"] for message in await person.published()] == ["event-created", "event-updated"]


async def test_a_repeated_call_imports_once(person: Person) -> None:
    request_id = str(uuid.uuid4())
    first = await imported(person, DAILY, request_id=request_id)
    assert await imported(person, DAILY, request_id=request_id) == first
    assert len(await person.published()) == 1


async def test_an_occurrence_whose_event_is_in_the_calendar_already_changes_that(person: Person) -> None:
    await imported(person, DAILY)
    response = await imported(person, MOVED)
    assert (response.created_count, response.updated_count) == (0, 1)
    assert ("2026-06-03T17:00:00Z", "Run, later") in await starts(person)
    assert len(await starts(person)) == 3
    assert (await imported(person, MOVED)).unchanged_count == 1


async def test_an_occurrence_without_its_event_is_an_event_of_its_own(person: Person) -> None:
    response = await imported(person, MOVED)
    assert response.created_count == 1
    assert await starts(person) == [("2026-06-03T17:00:00Z", "Run, later")]


async def test_all_that_follow_are_split_off_and_go_when_a_newer_file_has_them_no_more(person: Person) -> None:
    _, content = a_case("D-ics-exceptions-6")
    response = await person.files.ImportEvents(content=content)
    assert response.created_count == 2
    assert len(await starts(person)) == 5
    again = await person.files.ImportEvents(content=content)
    assert again.unchanged_count == 2

    plain = content.partition(b"END:VEVENT")[0].replace(b"SUMMARY:Shift", b"SUMMARY:Shift\nSEQUENCE:3")
    await person.files.ImportEvents(content=plain + b"END:VEVENT\nEND:VCALENDAR\n")
    assert {title for _, title in await starts(person)} == {"Shift"}
    assert len(await starts(person)) == 5


async def test_a_cancelled_event_is_cancelled_and_one_without_an_end_deleted(person: Person) -> None:
    endless = "UID:e@example.org\nDTSTAMP:20260101T000000Z\nDTSTART:20260601T080000Z\nRRULE:FREQ=DAILY"
    await imported(person, DAILY, endless)
    cancelled = "\nSTATUS:CANCELLED\nSEQUENCE:1"
    response = await imported(person, DAILY.replace("\nSUMMARY:Run", f"\nSUMMARY:Run{cancelled}"), endless + cancelled)
    assert response.updated_count == 2
    assert [issue.property for issue in response.issues] == ["STATUS"]
    assert await starts(person) == []


async def test_what_was_imported_can_be_exported_and_imported_by_another(person: Person) -> None:
    await imported(person, DAILY, MOVED)
    await person.event("2026-07-01", title="A day", reminders=[{"offset": "-P1D"}])
    text = await exported(person)

    other = await person.another()
    response = await other.files.ImportEvents(content=text.encode())
    assert (response.created_count, list(response.issues)) == (2, [])
    assert await starts(other) == await starts(person)
    assert (await person.files.ImportEvents(content=text.encode())).unchanged_count == 2


async def test_the_pages_of_an_export_are_one_file(person: Person) -> None:
    await imported(person, DAILY, MOVED, "UID:b\nDTSTART;TZID=Asia/Tokyo:20260601T080000", "UID:c\nDTSTART:20260601")
    whole = await exported(person)
    assert await exported(person, page_size=1) == whole
    assert whole.startswith("BEGIN:VCALENDAR\r\n")
    assert whole.endswith("END:VEVENT\r\nEND:VCALENDAR\r\n")
    assert (whole.count("BEGIN:VCALENDAR"), whole.count("BEGIN:VTIMEZONE"), whole.count("BEGIN:VEVENT")) == (1, 2, 4)


async def test_one_event_can_be_exported(person: Person) -> None:
    event = await person.event(title="Alone")
    await person.event(title="Other")
    text = await exported(person, event_id=event.id)
    assert "SUMMARY:Alone" in text
    assert "Other" not in text
    with refused("EVENT_NOT_FOUND"):
        await person.files.ExportEvents(event_id=str(uuid.uuid4()))


async def test_an_export_without_events_is_an_empty_calendar(person: Person) -> None:
    assert await exported(person) == (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Focusmesh//Focusmesh//EN\r\nCALSCALE:GREGORIAN\r\nEND:VCALENDAR\r\n"
    )


@pytest.mark.parametrize("content", [b"x", b"\0", b"\n\nBEGIN:VEVENT\n", b"\xff\xfe", b" "])
async def test_what_is_no_calendar_is_refused(person: Person, content: bytes) -> None:
    with refused("FILE_UNREADABLE"):
        await person.files.ImportEvents(content=content)


async def test_a_file_with_too_many_components_is_refused(person: Person) -> None:
    content = b"BEGIN:VCALENDAR\n" + b"BEGIN:VEVENT\nEND:VEVENT\n" * (MOST_COMPONENTS + 1) + b"END:VCALENDAR\n"
    with refused("FILE_TOO_LARGE", limit="5000", what="components"):
        await person.files.ImportEvents(content=content)


async def test_a_file_of_more_than_four_mebibytes_is_refused(person: Person) -> None:
    with refused("INVALID_REQUEST"):
        await person.files.ImportEvents(content=b"x" * (4 * 1024 * 1024 + 1))


class TestTasks:
    """VTODO."""

    FILE = (
        b"BEGIN:VCALENDAR\nBEGIN:VTODO\nUID:t@example.org\nSUMMARY:Taxes\nDUE:20260701T100000Z\nEND:VTODO\n"
        b"BEGIN:VTODO\nUID:u@example.org\nRRULE:FREQ=DAILY\nEND:VTODO\nEND:VCALENDAR\n"
    )

    async def test_tasks_are_imported_once(self, person: Person, todo_channel: grpc.aio.Channel) -> None:
        dry = await person.files.ImportEvents(content=self.FILE, dry_run=True)
        first = await person.files.ImportEvents(content=self.FILE)
        second = await person.files.ImportEvents(content=self.FILE)
        assert first == dry
        assert (first.tasks_created_count, first.tasks_unchanged_count, first.not_imported_count) == (1, 0, 1)
        assert (second.tasks_created_count, second.tasks_unchanged_count) == (0, 1)
        assert [(issue.component, issue.uid, issue.property) for issue in first.issues] == [
            ("VTODO", "u@example.org", "RRULE")
        ]

    async def test_without_todo_nothing_is_imported(self, person: Person) -> None:
        content = self.FILE.replace(b"END:VCALENDAR\n", b"") + a_file(DAILY).partition("Tests//EN\n")[2].encode()
        with refused("TODO_UNAVAILABLE"):
            await person.files.ImportEvents(content=content + b"END:VCALENDAR\n")
        assert await starts(person) == []


async def test_an_export_with_what_was_split_off_is_imported_again_without_a_loss(person: Person) -> None:
    _, content = a_case("D-ics-exceptions-6")
    await person.files.ImportEvents(content=content)
    before = await starts(person)

    await person.files.ImportEvents(content=(await exported(person)).encode())

    assert await starts(person) == before


async def changed_from(person: Person, event_id: str, slot: str) -> event_pb2.Event:
    """The event that an edit of the title splits off."""
    changes = event_service_pb2.EventChanges(title="Other", update_mask=FieldMask(paths=["title"]))
    response = await person.events.UpdateEvent(
        event_id=event_id, scope=event_service_pb2.EVENT_SCOPE_FOLLOWING, slot=slot, changes=changes
    )
    event: event_pb2.Event = response.event
    return event


async def test_a_newer_file_doubles_nothing_that_was_split_off_here(person: Person) -> None:
    await imported(person, DAILY)
    (event,) = (await person.events.ListEvents()).events
    for slot in ("2026-06-03T07:00:00", "2026-06-04T07:00:00"):
        event = await changed_from(person, event.id, slot)
    titles = [title for _, title in await starts(person)]
    assert titles == ["Run", "Other", "Other"]

    await imported(person, DAILY)
    assert [title for _, title in await starts(person)] == titles
    newer = await imported(person, DAILY.replace("SUMMARY:Run", "SUMMARY:Swim\nSEQUENCE:1"))

    assert (newer.created_count, newer.updated_count) == (0, 1)
    assert [title for _, title in await starts(person)] == ["Swim"] * 3


async def test_an_older_export_doubles_nothing_that_was_split_off_since(person: Person) -> None:
    rule = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY, count=4)
    event = await person.event("2026-06-01T07:00:00", recurrence=rule)
    older = await exported(person)
    await changed_from(person, event.id, "2026-06-03T07:00:00")
    newer, now = await exported(person), await starts(person)

    await person.files.ImportEvents(content=newer.encode())
    assert await starts(person) == now
    await person.files.ImportEvents(content=older.encode())
    assert [title for _, title in await starts(person)] == [event.title] * 4


async def test_one_occurrence_of_what_was_split_off_is_changed_there(person: Person) -> None:
    await imported(person, DAILY)
    (event,) = (await person.events.ListEvents()).events
    await changed_from(person, event.id, "2026-06-03T07:00:00")

    await imported(person, MOVED.replace("DTSTAMP:20260101T000000Z", "DTSTAMP:20260102T000000Z"))

    assert await starts(person) == [
        ("2026-06-01T05:00:00Z", "Run"),
        ("2026-06-03T17:00:00Z", "Run, later"),
        ("2026-06-04T05:00:00Z", "Other"),
    ]


async def test_two_occurrences_without_their_event_change_both(person: Person) -> None:
    await imported(person, DAILY)
    other = MOVED.replace("RECURRENCE-ID;TZID=Europe/Zurich:20260603", "RECURRENCE-ID;TZID=Europe/Zurich:20260604")
    response = await imported(person, MOVED, other.replace("Run, later", "Run, last").replace("0603T19", "0604T20"))
    assert (response.created_count, response.updated_count, response.issue_count) == (0, 2, 0)
    assert [title for _, title in await starts(person)] == ["Run", "Run, later", "Run, last"]


async def test_what_an_import_cancels_or_moves_after_its_reminder_was_due_is_told_of_each(person: Person) -> None:
    first = datetime.now(UTC).date() + timedelta(days=1)
    days = [(first + timedelta(days=day)).strftime("%Y%m%d") for day in range(60)]
    daily = DAILY.replace("20260601", days[0]).replace("20260602", days[50]).replace("-PT15M", "-P10D")
    daily = daily.replace("COUNT=4", "COUNT=60")
    await imported(person, daily)

    gone = f"T070000\nSEQUENCE:1\nEXDATE;TZID=Europe/Zurich:{days[1]}T070000,{days[40]}T070000\nBEGIN:VALARM"
    later = daily.replace("T070000\nBEGIN:VALARM", gone)
    moved = MOVED.replace("20260603T07", f"{days[2]}T07").replace("20260603T19", f"{days[2]}T19")
    response = await imported(person, later, moved.replace("RECURRENCE-ID", "SEQUENCE:1\nRECURRENCE-ID"))

    assert (response.updated_count, response.issue_count) == (1, 1)  # the alarm of the one that is moved
    published = await person.published()
    assert [message["event_type"] for message in published] == [
        "event-created",
        "event-updated",
        "occurrence-cancelled",
        "occurrence-moved",
    ]
    slots = [message["payload"]["occurrence"]["slot"].replace("-", "") for message in published[2:]]
    assert slots == [f"{day}T07:00:00" for day in days[1:3]]
    (event,) = (await person.events.ListEvents()).events
    assert event.etag == etag(4)


async def test_an_export_whose_zones_fill_a_page_leaves_no_event_out(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.calendar.handlers.files.LARGEST_RESPONSE", 1000)
    for zone in ("Europe/Zurich", "America/New_York", "Australia/Sydney"):
        await person.event(time_zone=zone)

    text = await exported(person, page_size=200)

    assert text.index("BEGIN:VEVENT") > 1000
    assert (text.count("BEGIN:VEVENT"), text.count("END:VCALENDAR")) == (3, 1)
