"""Occurrences are listed, read, moved, cancelled, restored and completed."""

from typing import Any

import pytest
from focusmesh.calendar.v1 import event_pb2
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.runtime.ids import new_id
from tests.contract.calendar.person import Person, timestamp
from tests.support.errors import refused

PLANNED, CANCELLED, COMPLETED = (
    event_pb2.EVENT_STATE_PLANNED,
    event_pb2.EVENT_STATE_CANCELLED,
    event_pb2.EVENT_STATE_COMPLETED,
)
CHANGES = ("MoveOccurrence", "CancelOccurrence", "RestoreOccurrence", "CompleteOccurrence")
WEEK = ("2026-09-07T00:00:00Z", "2026-09-14T00:00:00Z")


async def a_series(person: Person, count: int = 3, **fields: Any) -> event_pb2.Event:
    """A daily event at 18:00 from 7 September 2026 on."""
    rule = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY, count=count)
    return await person.event(recurrence=rule, **fields)


def ids(event: event_pb2.Event, count: int = 3) -> list[str]:
    """The ids of its occurrences."""
    return [f"{event.id}_202609{7 + day:02}T180000" for day in range(count)]


def arguments(call: str) -> dict[str, str]:
    """What a changing call needs beside the occurrence."""
    return {"start": "2026-09-08T10:00:00"} if call == "MoveOccurrence" else {}


def json(instant: Timestamp) -> str:
    """As JSON writes it."""
    return instant.ToJsonString()


async def states(person: Person, event: event_pb2.Event) -> list[int]:
    """The states of its occurrences in the week, by slot."""
    found = await person.listed(*WEEK, event_id=event.id, states=[PLANNED, CANCELLED, COMPLETED])
    return [each.state for each in sorted(found, key=lambda each: each.slot)]


async def test_occurrences_of_all_events_are_listed_in_the_order_of_their_starts(person: Person) -> None:
    series, single = await a_series(person), await person.event("2026-09-08T09:00:00", description="Long")
    found = await person.listed(*WEEK)
    assert [each.id for each in found] == [ids(series)[0], f"{single.id}_20260908T090000", *ids(series)[1:]]
    assert (found[1].title, found[1].slot, json(found[1].start_time), json(found[1].end_time)) == (
        "Deep work",
        "2026-09-08T09:00:00",
        "2026-09-08T07:00:00Z",
        "2026-09-08T07:25:00Z",
    )
    assert not found[1].HasField("description")
    assert (await person.occurrence(found[1].id)).description == "Long"


async def test_pages_go_on_where_the_last_one_ended(person: Person) -> None:
    series = await a_series(person, 5)
    window = {"start_time": timestamp(WEEK[0]), "end_time": timestamp(WEEK[1])}
    pages, token = [], ""
    while True:
        page = await person.occurrences.ListOccurrences(**window, page_size=2, page_token=token)
        pages.append([each.id for each in page.occurrences])
        token = page.next_page_token
        if not token:
            break
    assert pages == [ids(series, 5)[:2], ids(series, 5)[2:4], ids(series, 5)[4:]]


async def test_an_all_day_occurrence_shows_its_dates(person: Person) -> None:
    event = await person.event("2026-09-07", duration_minutes=2880)
    [found] = await person.listed(*WEEK)
    assert found.id == f"{event.id}_20260907"
    assert (found.start_date, found.end_date, json(found.start_time)) == (
        "2026-09-07",
        "2026-09-09",
        "2026-09-06T22:00:00Z",
    )


async def test_a_window_is_at_most_366_days_and_does_not_end_before_it_begins(person: Person) -> None:
    for end in ("2027-09-08T00:00:01Z", WEEK[0], "2026-09-01T00:00:00Z"):
        with refused("INVALID_REQUEST"):
            await person.listed(WEEK[0], end)
    assert await person.listed(WEEK[0], "2027-09-08T00:00:00Z") == []


async def test_the_last_window_of_the_calendar_is_listed(person: Person) -> None:
    await person.event("2026-09-07", repeat_type=event_pb2.REPEAT_TYPE_DAILY)
    found = await person.listed("9999-12-01T00:00:00Z", "9999-12-31T23:59:59Z")
    assert (len(found), found[-1].slot) == (30, "9999-12-30")


async def test_a_moved_occurrence_keeps_its_slot_and_takes_place_at_another_time(person: Person) -> None:
    event = await a_series(person)
    moved = (
        await person.occurrences.MoveOccurrence(
            occurrence_id=ids(event)[1], start="2026-09-10T08:00:00", duration_minutes=90
        )
    ).occurrence
    assert (moved.id, moved.slot, moved.is_changed) == (ids(event)[1], "2026-09-08T18:00:00", True)
    assert (json(moved.start_time), json(moved.end_time)) == ("2026-09-10T06:00:00Z", "2026-09-10T07:30:00Z")
    assert await person.occurrence(moved.id) == moved
    assert [each.id for each in await person.listed(*WEEK)] == [ids(event)[0], ids(event)[2], ids(event)[1]]
    message = (await person.published())[-1]
    assert (message["event_type"], message["calendar_event_id"]) == ("occurrence-moved", event.id)
    assert message["payload"]["occurrence"] == {
        "occurrence_id": moved.id,
        "slot": "2026-09-08T18:00:00",
        "start": "2026-09-10T08:00:00",
        "title": "Deep work",
        "status": "planned",
        "start_time": "2026-09-10T06:00:00Z",
        "end_time": "2026-09-10T07:30:00Z",
        "planned_minutes": 90,
        "focus_session_id": None,
    }


async def move(person: Person, occurrence_id: str, start: str, **fields: Any) -> event_pb2.Occurrence:
    """The occurrence after it was moved."""
    response = await person.occurrences.MoveOccurrence(occurrence_id=occurrence_id, start=start, **fields)
    moved: event_pb2.Occurrence = response.occurrence
    return moved


async def test_an_occurrence_that_is_moved_back_is_what_its_event_says(person: Person) -> None:
    event = await a_series(person)
    assert (await move(person, ids(event)[0], "2026-09-07T19:00:00", duration_minutes=5)).is_changed
    assert not (await move(person, ids(event)[0], "2026-09-07T18:00:00", duration_minutes=25)).is_changed


async def test_a_move_without_a_length_keeps_that_of_before(person: Person) -> None:
    event = await a_series(person)
    await move(person, ids(event)[0], "2026-09-07T19:00:00", duration_minutes=50)
    moved = await move(person, ids(event)[0], "2026-09-07T20:00:00")
    assert (json(moved.start_time), json(moved.end_time)) == ("2026-09-07T18:00:00Z", "2026-09-07T18:50:00Z")


@pytest.mark.parametrize(
    ("slot", "fields", "wrong"),
    [
        ("2026-09-07T18:00:00", {"start": "2026-09-07"}, "start"),
        ("2026-09-07T18:00:00", {"start": "2026-02-30T10:00:00"}, "start"),
        ("2026-09-07T18:00:00", {"start": "9999-12-31T10:00:00"}, "start"),
        ("2026-09-07T18:00:00", {"start": "0001-01-01T10:00:00"}, "start"),
        ("2026-09-07", {"start": "2026-09-07T10:00:00"}, "start"),
        ("2026-09-07", {"start": "2026-09-08", "duration_minutes": 60}, "duration_minutes"),
    ],
)
async def test_a_move_that_is_not_possible_names_its_field_and_changes_nothing(
    person: Person, slot: str, fields: dict[str, Any], wrong: str
) -> None:
    event = await person.event(slot)
    [before] = await person.listed(*WEEK)
    with refused("INVALID_REQUEST") as error:
        await person.occurrences.MoveOccurrence(occurrence_id=before.id, **fields)
    assert error.fields == [wrong]
    assert (await person.get(event.id)).etag == event.etag


async def test_a_cancelled_occurrence_is_left_out_and_can_be_read_and_restored(person: Person) -> None:
    event = await a_series(person)
    cancelled = (await person.occurrences.CancelOccurrence(occurrence_id=ids(event)[1])).occurrence
    assert cancelled.state == CANCELLED
    assert [each.id for each in await person.listed(*WEEK)] == [ids(event)[0], ids(event)[2]]
    assert await person.occurrence(cancelled.id) == cancelled
    for call in ("MoveOccurrence", "CompleteOccurrence"):
        with refused("OCCURRENCE_CANCELLED", occurrence_id=cancelled.id):
            await getattr(person.occurrences, call)(occurrence_id=cancelled.id, **arguments(call))
    restored = (await person.occurrences.RestoreOccurrence(occurrence_id=cancelled.id)).occurrence
    assert (restored.state, restored.is_changed) == (PLANNED, False)
    assert await states(person, event) == [PLANNED] * 3
    assert [each["event_type"] for each in await person.published()] == [
        "event-created",
        "occurrence-cancelled",
        "event-updated",
    ]


async def test_a_completed_occurrence_stays_listed_and_cannot_be_moved_or_cancelled(person: Person) -> None:
    event = await a_series(person)
    completed = (await person.occurrences.CompleteOccurrence(occurrence_id=ids(event)[0])).occurrence
    assert (completed.state, completed.HasField("complete_time")) == (COMPLETED, True)
    assert [each.state for each in await person.listed(*WEEK)] == [COMPLETED, PLANNED, PLANNED]
    for call in ("MoveOccurrence", "CancelOccurrence"):
        with refused("OCCURRENCE_COMPLETED", occurrence_id=completed.id):
            await getattr(person.occurrences, call)(occurrence_id=completed.id, **arguments(call))
    restored = (await person.occurrences.RestoreOccurrence(occurrence_id=completed.id)).occurrence
    assert (restored.state, restored.HasField("complete_time")) == (PLANNED, False)


async def test_restoring_gives_up_what_an_occurrence_had_of_its_own(person: Person) -> None:
    event = await a_series(person)
    await move(person, ids(event)[0], "2026-09-10T19:00:00", duration_minutes=50)
    await person.occurrences.CancelOccurrence(occurrence_id=ids(event)[0])
    restored = (await person.occurrences.RestoreOccurrence(occurrence_id=ids(event)[0])).occurrence
    assert (json(restored.start_time), json(restored.end_time)) == ("2026-09-07T16:00:00Z", "2026-09-07T16:25:00Z")


@pytest.mark.parametrize("call", ["CancelOccurrence", "CompleteOccurrence", "RestoreOccurrence", "MoveOccurrence"])
async def test_a_change_that_was_made_already_changes_nothing(person: Person, call: str) -> None:
    event = await a_series(person)
    first, second = [
        (await getattr(person.occurrences, call)(occurrence_id=ids(event)[0], **arguments(call))).occurrence
        for _ in range(2)
    ]
    assert second == first
    assert len(await person.published()) == (1 if call == "RestoreOccurrence" else 2)


async def test_a_single_event_follows_its_occurrence(person: Person) -> None:
    event = await person.event()
    for call, state in (
        ("CompleteOccurrence", COMPLETED),
        ("RestoreOccurrence", PLANNED),
        ("CancelOccurrence", CANCELLED),
    ):
        await getattr(person.occurrences, call)(occurrence_id=ids(event)[0])
        assert (await person.get(event.id)).state == state
    assert (await person.published())[-1]["payload"]["status"] == "cancelled"


async def test_a_series_is_completed_with_its_last_occurrence_and_cancelled_with_all(person: Person) -> None:
    event = await a_series(person)
    first, second, third = ids(event)
    await person.occurrences.CompleteOccurrence(occurrence_id=second)
    assert (await person.get(event.id)).state == PLANNED
    await person.occurrences.CancelOccurrence(occurrence_id=third)
    assert (await person.get(event.id)).state == COMPLETED
    await person.occurrences.RestoreOccurrence(occurrence_id=second)
    for each in (first, second):
        await person.occurrences.CancelOccurrence(occurrence_id=each)
    assert (await person.get(event.id)).state == CANCELLED


async def test_every_change_raises_the_version_of_the_event_and_an_old_etag_is_refused(person: Person) -> None:
    event = await a_series(person)
    cancelled = (await person.occurrences.CancelOccurrence(occurrence_id=ids(event)[0], etag=event.etag)).occurrence
    assert cancelled.etag == (await person.get(event.id)).etag != event.etag
    for call in CHANGES:
        with refused("VERSION_CONFLICT", etag=cancelled.etag):
            fields = arguments(call) | {"etag": event.etag}
            await getattr(person.occurrences, call)(occurrence_id=ids(event)[1], **fields)


@pytest.mark.parametrize("call", ["GetOccurrence", *CHANGES])
async def test_an_occurrence_that_nobody_has_is_not_found(person: Person, call: str) -> None:
    event, dated = await a_series(person), await person.event("2026-09-07")
    other, arguments_ = await person.another(), arguments(call)
    missing = [
        f"{event.id}_20260906T180000",
        f"{event.id}_20260907T190000",
        f"{event.id}_20260907",
        f"{event.id}_20261399T180000",
        f"{event.id}_20260910T180000",
        f"{dated.id}_20260907T000000",
        f"{new_id()}_20260907T180000",
        f"{'-' * 36}_20260907T180000",
    ]
    for occurrence_id in missing:
        with refused("OCCURRENCE_NOT_FOUND", occurrence_id=occurrence_id):
            await getattr(person.occurrences, call)(occurrence_id=occurrence_id, **arguments_)
    with refused("OCCURRENCE_NOT_FOUND", occurrence_id=ids(event)[0]):
        await getattr(other.occurrences, call)(occurrence_id=ids(event)[0], **arguments_)


@pytest.mark.parametrize("call", CHANGES)
async def test_what_came_by_a_subscription_is_listed_and_cannot_be_changed(person: Person, call: str) -> None:
    event = await a_series(person)
    await person.follow(event.id)
    assert [each.HasField("subscription_id") for each in await person.listed(*WEEK)] == [True] * 3
    assert await person.listed(*WEEK, own_only=True) == []
    with refused("EVENT_READ_ONLY", event_id=event.id):
        await getattr(person.occurrences, call)(occurrence_id=ids(event)[0], **arguments(call))


async def test_a_retried_change_gets_the_same_answer(person: Person) -> None:
    event, request_id = await a_series(person), new_id()
    first, second = [
        await person.occurrences.CancelOccurrence(occurrence_id=ids(event)[0], request_id=request_id) for _ in range(2)
    ]
    assert second == first
    assert len(await person.published()) == 2


async def test_an_event_may_have_a_thousand_occurrences_of_their_own(person: Person) -> None:
    event = await person.event(repeat_type=event_pb2.REPEAT_TYPE_DAILY)
    await person.cancel_many(event.id, "2026-09-08T18:00:00", 1000)
    with refused("TOO_MANY_CHANGES", limit="1000"):
        await person.occurrences.CancelOccurrence(occurrence_id=ids(event)[0])
    await person.occurrences.CancelOccurrence(occurrence_id=ids(event, 2)[1])
    await person.occurrences.RestoreOccurrence(occurrence_id=ids(event, 2)[1])
    await person.occurrences.CancelOccurrence(occurrence_id=ids(event)[0])
