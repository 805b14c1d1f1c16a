"""Events are changed, deleted and brought back, with a scope; every change is one message."""

import asyncio
from typing import Any

import grpc
import orjson
import pytest
from focusmesh.calendar.v1 import event_pb2
from focusmesh.calendar.v1 import event_service_pb2 as pb
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.calendar.model import MOST_EVENTS
from tests.contract.calendar.person import Person
from tests.support.errors import refused

THIS, FOLLOWING, ALL = pb.EVENT_SCOPE_THIS, pb.EVENT_SCOPE_FOLLOWING, pb.EVENT_SCOPE_ALL
SECOND = "2026-09-14T18:00:00"


def changes(*also: str, **values: Any) -> pb.EventChanges:
    """New values, all named in the mask. also: names that are cleared."""
    return pb.EventChanges(update_mask=FieldMask(paths=[*values, *also]), **values)


def weekly(count: int = 4) -> recurrence_pb2.Recurrence:
    """Every week."""
    return recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY, count=count)


async def published(db: Database, user_id: str) -> list[dict[str, Any]]:
    """The data of the messages about the events of a user, in order."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox WHERE key = %s ORDER BY seq", (user_id,))
        return [orjson.loads(value)["data"] for (value,) in await cursor.fetchall()]


async def test_one_occurrence_is_changed_alone(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly())

    answer = await person.events.UpdateEvent(
        event_id=event.id, scope=THIS, slot=SECOND, changes=changes(title="Own", start="2026-09-15T08:00:00")
    )

    assert answer.event.title == "Deep work"
    assert answer.event.etag != event.etag
    found = answer.occurrence
    assert (found.title, found.slot, found.is_changed) == ("Own", SECOND, True)
    assert found.id == f"{event.id}_20260914T180000"
    assert found.start_time.ToJsonString() == "2026-09-15T06:00:00Z"
    assert await person.get(event.id) == answer.event
    moved = (await published(db, person.user_id))[-1]
    assert (moved["event_type"], moved["payload"]["occurrence"]["slot"]) == ("occurrence-moved", SECOND)
    assert moved["payload"]["occurrence"]["start_time"] == "2026-09-15T06:00:00Z"


async def test_all_is_changed(person: Person, db: Database) -> None:
    event = await person.event(description="Quiet", recurrence=weekly())

    changed = (
        await person.events.UpdateEvent(
            event_id=event.id,
            scope=ALL,
            changes=changes("description", start="2026-09-07T19:00:00", duration_minutes=90, time_zone="Asia/Tokyo"),
        )
    ).event

    assert (changed.start, changed.duration_minutes, changed.time_zone) == ("2026-09-07T19:00:00", 90, "Asia/Tokyo")
    assert not changed.HasField("description")
    assert changed.scheduled_start_time.ToJsonString() == "2026-09-07T10:00:00Z"
    assert await person.get(event.id) == changed
    assert [each["event_type"] for each in await published(db, person.user_id)] == ["event-created", "event-updated"]


async def test_following_ends_the_event_and_begins_another(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly(), reminders=[event_pb2.EventReminder(offset="-PT5M")])

    new = (
        await person.events.UpdateEvent(event_id=event.id, scope=FOLLOWING, slot=SECOND, changes=changes(title="Other"))
    ).event

    old = await person.get(event.id)
    assert (old.recurrence.count, new.recurrence.count) == (1, 3)
    assert (new.start, new.title, new.series_id) == (SECOND, "Other", event.id)
    assert new.reminders == event.reminders
    assert await person.get(new.id) == new
    messages = await published(db, person.user_id)
    assert [(each["event_type"], each["calendar_event_id"]) for each in messages] == [
        ("event-created", event.id),
        ("event-updated", event.id),
        ("event-created", new.id),
    ]


async def test_overrides_that_would_be_lost_are_named_and_nothing_is_changed(person: Person) -> None:
    event = await person.event(recurrence=weekly())
    await person.events.UpdateEvent(event_id=event.id, scope=THIS, slot=SECOND, changes=changes(title="Own"))
    before = await person.get(event.id)
    edit = {"event_id": event.id, "scope": ALL, "changes": changes(start="2026-09-08T18:00:00")}

    with refused("OVERRIDES_LOST", slots=SECOND):
        await person.events.UpdateEvent(**edit)
    assert await person.get(event.id) == before

    changed = (await person.events.UpdateEvent(**edit, force=True)).event
    assert changed.start == "2026-09-08T18:00:00"


async def test_a_deleted_occurrence_is_cancelled_and_the_rest_stays_editable(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly(2))

    await person.events.DeleteEvent(event_id=event.id, scope=THIS, slot=event.start)
    changed = await person.events.UpdateEvent(
        event_id=event.id, scope=ALL, changes=changes(start="2026-09-07T19:00:00")
    )
    assert changed.event.state == event_pb2.EVENT_STATE_PLANNED
    gone = await person.events.DeleteEvent(event_id=event.id, scope=THIS, slot="2026-09-14T19:00:00")

    assert gone.event.state == event_pb2.EVENT_STATE_CANCELLED
    assert not gone.event.HasField("delete_time")
    assert [each["event_type"] for each in await published(db, person.user_id)] == [
        "event-created",
        "occurrence-cancelled",
        "event-updated",
        "occurrence-cancelled",
    ]


async def test_deleting_what_is_cancelled_changes_nothing(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly())
    first = await person.events.DeleteEvent(event_id=event.id, scope=THIS, slot=SECOND)

    again = await person.events.DeleteEvent(event_id=event.id, scope=THIS, slot=SECOND)

    assert again == first
    assert len(await published(db, person.user_id)) == 2


async def test_an_event_is_deleted_from_a_slot_on(person: Person) -> None:
    event = await person.event(recurrence=weekly())

    left = (await person.events.DeleteEvent(event_id=event.id, scope=FOLLOWING, slot=SECOND)).event
    assert (left.recurrence.count, left.HasField("delete_time")) == (1, False)

    gone = (await person.events.DeleteEvent(event_id=event.id, scope=FOLLOWING, slot=event.start)).event
    assert gone.HasField("delete_time")


async def test_a_deleted_event_is_brought_back_as_it_was(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly())
    await person.events.UpdateEvent(event_id=event.id, scope=THIS, slot=SECOND, changes=changes(title="Own"))

    deleted = (await person.events.DeleteEvent(event_id=event.id)).event
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * 86_400
    assert not (await person.events.ListEvents()).events
    assert len((await person.events.ListEvents(show_deleted=True)).events) == 1
    with refused("EVENT_DELETED", event_id=event.id):
        await person.events.UpdateEvent(event_id=event.id, scope=ALL, changes=changes(title="x"))

    back = (await person.events.UndeleteEvent(event_id=event.id)).event
    assert not back.HasField("delete_time")
    with refused("EVENT_NOT_DELETED", event_id=event.id):
        await person.events.UndeleteEvent(event_id=event.id)
    kept = await person.events.UpdateEvent(event_id=event.id, scope=THIS, slot=SECOND, changes=changes("location"))
    assert kept.occurrence.title == "Own"
    assert [each["event_type"] for each in await published(db, person.user_id)] == [
        "event-created",
        "event-updated",
        "event-deleted",
        "event-updated",
    ]


async def test_a_call_based_on_an_older_version_is_refused(person: Person) -> None:
    event = await person.event(recurrence=weekly())
    await person.events.UpdateEvent(event_id=event.id, scope=ALL, changes=changes(title="Newer"))

    for call in (
        person.events.UpdateEvent(event_id=event.id, scope=ALL, etag=event.etag, changes=changes(title="x")),
        person.events.DeleteEvent(event_id=event.id, etag=event.etag),
    ):
        with refused("VERSION_CONFLICT"):
            await call
    assert (await person.get(event.id)).title == "Newer"


async def test_of_parallel_edits_from_one_version_one_wins(person: Person) -> None:
    event = await person.event(recurrence=weekly())

    async def edit(number: int) -> str:
        try:
            await person.events.UpdateEvent(
                event_id=event.id,
                scope=FOLLOWING,
                slot=SECOND,
                etag=event.etag,
                changes=changes(title=f"Edit {number}"),
            )
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    outcomes = await asyncio.gather(*(edit(number) for number in range(10)))

    assert sorted(outcomes) == ["ABORTED"] * 9 + ["OK"]
    assert len((await person.events.ListEvents()).events) == 2


async def test_a_repeated_request_changes_once(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly())
    request: dict[str, Any] = {
        "event_id": event.id,
        "scope": FOLLOWING,
        "slot": SECOND,
        "request_id": new_id(),
        "changes": changes(title="Other"),
    }

    first = await person.events.UpdateEvent(**request)
    again = await person.events.UpdateEvent(**request)

    assert again == first
    assert len(await published(db, person.user_id)) == 3


async def test_a_change_to_what_it_is_already_is_no_new_version(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly())

    answer = await person.events.UpdateEvent(event_id=event.id, scope=ALL, changes=changes(title=event.title))

    assert answer.event == event
    assert len(await published(db, person.user_id)) == 1


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        ({"scope": ALL, "changes": changes(start="2026-09-31")}, "changes.start"),
        ({"scope": ALL, "changes": changes(start="1899-12-31T10:00:00")}, "changes.start"),
        ({"scope": THIS, "slot": SECOND, "changes": changes(start="2026-09-14")}, "changes.start"),
        ({"scope": FOLLOWING, "slot": SECOND, "changes": changes(start="2026-09-14")}, "changes.start"),
        ({"scope": ALL, "changes": changes(start="2026-09-07", time_zone="Asia/Tokyo")}, "changes.time_zone"),
        ({"scope": ALL, "changes": changes(start="2026-09-07", duration_minutes=90)}, "changes.duration_minutes"),
        (
            {"scope": ALL, "changes": changes(reminders=[event_pb2.EventReminder(offset="P1D")])},
            "changes.reminders[0].offset",
        ),
        (
            {"scope": ALL, "changes": changes(reminders=[event_pb2.EventReminder(offset="-P1D")] * 2)},
            "changes.reminders[1]",
        ),
        (
            {
                "scope": ALL,
                "changes": changes(
                    recurrence=recurrence_pb2.Recurrence(
                        frequency=recurrence_pb2.FREQUENCY_WEEKLY,
                        by_day=[recurrence_pb2.RecurrenceDay(weekday=recurrence_pb2.WEEKDAY_TUESDAY)],
                    )
                ),
            },
            "changes.start",
        ),
    ],
)
async def test_bad_changes_are_refused_by_field_and_change_nothing(
    person: Person, edit: dict[str, Any], field: str
) -> None:
    event = await person.event(recurrence=weekly())

    with refused("INVALID_REQUEST") as error:
        await person.events.UpdateEvent(event_id=event.id, **edit)

    assert error.fields == [field]
    assert await person.get(event.id) == event


async def test_a_time_zone_that_does_not_exist_is_refused(person: Person) -> None:
    event = await person.event()

    with refused("TIME_ZONE_UNKNOWN", time_zone="Mars/Olympus") as error:
        await person.events.UpdateEvent(event_id=event.id, scope=ALL, changes=changes(time_zone="Mars/Olympus"))
    assert error.fields == ["changes.time_zone"]


async def test_a_slot_that_the_event_does_not_have_is_missing(person: Person) -> None:
    event = await person.event(recurrence=weekly())

    with refused("OCCURRENCE_NOT_FOUND", occurrence_id=f"{event.id}_20260908T180000"):
        await person.events.DeleteEvent(event_id=event.id, scope=THIS, slot="2026-09-08T18:00:00")


async def test_another_users_event_can_be_neither_changed_nor_deleted(person: Person) -> None:
    event = await person.event()
    other = await person.another()

    for call in (
        other.events.UpdateEvent(event_id=event.id, scope=ALL, changes=changes(title="x")),
        other.events.DeleteEvent(event_id=event.id),
        other.events.UndeleteEvent(event_id=event.id),
    ):
        with refused("EVENT_NOT_FOUND"):
            await call
    assert await person.get(event.id) == event


async def test_a_user_may_have_so_many_events(person: Person, db: Database) -> None:
    event = await person.event(recurrence=weekly())
    async with db.connection() as connection:
        await connection.execute(
            """
            INSERT INTO events
                (user_id, title, scheduled_start, status, start_slot, length_days, length_seconds, series_id)
            SELECT %s::uuid, 'x', now(), 'planned', '2026-09-07', 1, 0, uuidv7() FROM generate_series(2, %s)""",
            (person.user_id, MOST_EVENTS),
        )

    with refused("EVENTS_FULL", limit=str(MOST_EVENTS)):
        await person.event()
    with refused("EVENTS_FULL"):
        await person.events.UpdateEvent(event_id=event.id, scope=FOLLOWING, slot=SECOND, changes=changes(title="x"))
    await person.events.DeleteEvent(event_id=event.id)
    await person.event()
    with refused("EVENTS_FULL"):
        await person.events.UndeleteEvent(event_id=event.id)


async def test_a_preview_says_what_moved_and_why(person: Person) -> None:
    answer = await person.events.PreviewEvent(
        start="2027-01-31T02:30:00",
        recurrence=recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_MONTHLY),
        duration_minutes=30,
        count=3,
    )

    assert [(each.slot, list(each.moved_reasons)) for each in answer.occurrences] == [
        ("2027-01-31T02:30:00", []),
        ("2027-02-28T02:30:00", ["clamp"]),
        ("2027-03-31T02:30:00", []),
    ]
    assert answer.occurrences[0].end_time.ToJsonString() == "2027-01-31T02:00:00Z"
    assert answer.occurrences[0].time_zone == "Europe/Zurich"
    assert not answer.occurrences[0].id
    assert not answer.HasField("next_start")


async def test_a_preview_of_a_start_beside_its_rule_names_the_next_that_would_do(person: Person) -> None:
    rule = recurrence_pb2.Recurrence(
        frequency=recurrence_pb2.FREQUENCY_WEEKLY,
        by_day=[recurrence_pb2.RecurrenceDay(weekday=recurrence_pb2.WEEKDAY_TUESDAY)],
    )
    answer = await person.events.PreviewEvent(start="2026-09-07", recurrence=rule, count=1)

    assert answer.next_start == "2026-09-08"
    assert [each.slot for each in answer.occurrences] == ["2026-09-08"]
    with refused("INVALID_REQUEST") as error:
        await person.event("2026-09-07", recurrence=rule)
    assert error.fields == ["start"]
