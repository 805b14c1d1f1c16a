"""A second user's calls while the event of a first one that differs most is edited, and its user travels."""

from datetime import datetime, timedelta

import grpc
import pytest
from focusmesh.calendar.v1 import event_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent
from mesh.events.outbox import SideEffects
from mesh.runtime import clock
from mesh.runtime.ids import new_id
from services.calendar.consumers import on_user_changed
from services.calendar.model import MOST_ROWS, CalendarEvent
from services.calendar.rules import changes
from services.calendar.store import events, occurrences
from services.calendar.store.changes import save
from tests.contract.calendar.person import Person
from tests.support.calendar_model import ZONE, a_row, an_event, rows_of
from tests.support.neighbours import disturbance
from tests.support.tokens import Signer

pytestmark = pytest.mark.alone

START = datetime.fromisoformat("2026-12-01T18:00:00")
PLAIN = 300
"""Floating events without rows; each more is the same again."""
REMINDERS = [{"offset": f"-P{days}D", "channel": "in_app"} for days in range(1, 11)]


def slot(day: int, *, hours: int = 0) -> str:
    """Of the event, so many days after its first; or so many hours later."""
    return (START + timedelta(days=day, hours=hours)).isoformat()


async def the_most_changed(person: Person, db: Database, *, time_zone: str | None) -> CalendarEvent:
    """Gives somebody an event of which as many occurrences were moved as may be, with as many reminders."""
    id_ = new_id()
    event = an_event(
        slot(0), "FREQ=DAILY", id=id_, series_id=id_, user_id=person.user_id, time_zone=time_zone, reminders=REMINDERS
    )
    rows = (
        a_row(slot(day), moved_to=slot(day, hours=2), title="x" * 255, event_id=id_, user_id=person.user_id)
        for day in range(1, MOST_ROWS + 1)
    )
    change = changes.created(event, rows_of(*rows), ZONE)
    async with db.transaction() as tx:
        await save(tx, [change], SideEffects((), None, ""))
    return change.event


@pytest.mark.timeout(180)
async def test_edits_of_the_event_with_most_changes_do_not_disturb_another(
    channel: grpc.aio.Channel, db: Database, signer: Signer
) -> None:
    person = await Person.living_in(ZONE, channel, signer, db)
    other = await person.another()
    event = await the_most_changed(person, db, time_zone=ZONE)

    async def edit(scope: pb.EventScope.ValueType, at: str | None = None, **values: str) -> str:
        edited = pb.EventChanges(update_mask=FieldMask(paths=list(values)), **values)  # type: ignore[arg-type]
        answer = await person.events.UpdateEvent(event_id=event.id, scope=scope, slot=at, changes=edited, timeout=60)
        return str(answer.event.id)

    async def live() -> None:
        await edit(pb.EVENT_SCOPE_ALL, title="Other")
        await edit(pb.EVENT_SCOPE_ALL, start=slot(0, hours=1))
        await edit(pb.EVENT_SCOPE_ALL, time_zone="America/New_York")
        await edit(pb.EVENT_SCOPE_THIS, slot(5, hours=1), title="Own")
        await person.events.DeleteEvent(event_id=event.id, timeout=60)
        await person.events.UndeleteEvent(event_id=event.id, timeout=60)
        new_id = await edit(pb.EVENT_SCOPE_FOLLOWING, slot(MOST_ROWS // 2, hours=1), start=slot(MOST_ROWS // 2))
        later = slot(MOST_ROWS - 10)
        await person.events.DeleteEvent(event_id=new_id, scope=pb.EVENT_SCOPE_FOLLOWING, slot=later, timeout=60)
        async with db.connection() as connection:
            kept = [await occurrences.all_rows(connection, id_) for id_ in (event.id, new_id)]
        assert list(map(len, kept)) == [MOST_ROWS // 2 - 1, MOST_ROWS // 2 - 10]

    seen = await disturbance(live(), lambda: other.events.ListEvents(timeout=60))
    seen.check()


@pytest.mark.timeout(180)
async def test_a_user_who_travels_with_a_full_calendar_does_not_disturb_another(
    channel: grpc.aio.Channel, db: Database, signer: Signer
) -> None:
    person = await Person.living_in(ZONE, channel, signer, db)
    other = await person.another()
    floating = await the_most_changed(person, db, time_zone=None)
    await the_most_changed(person, db, time_zone=None)
    plain = await person.event(is_floating=True)
    async with db.connection() as connection:
        found = await events.get_event(connection, person.user_id, plain.id)
    async with db.transaction() as tx:
        copies = [found._replace(id=new_id()) for _ in range(PLAIN)]
        await events.put_events(tx, copies, SideEffects((), None, ""))

    async def travel() -> None:
        async with db.transaction() as tx:
            await on_user_changed(tx, moved_to("Asia/Tokyo", person.user_id))

    seen = await disturbance(travel(), lambda: other.events.ListEvents(timeout=60))
    seen.check()
    assert (await person.get(floating.id)).scheduled_start_time.ToJsonString() == "2026-12-01T09:00:00Z"
    async with db.connection() as connection:
        rows = await occurrences.all_rows(connection, floating.id)
        cursor = await connection.execute(
            "SELECT count(*) FROM events WHERE user_id = %s::uuid AND scheduled_start = %s",
            (person.user_id, clock.to_datetime(found.scheduled_start - 7 * 3600 * clock.SECOND)),
        )
        assert await cursor.fetchone() == (PLAIN + 1,)
    assert clock.to_json(rows[slot(1)].start_time or 0) == "2026-12-02T11:00:00Z"


def moved_to(zone: str, user_id: str) -> ConsumedEvent:
    """What auth says of a user who is in another zone."""
    data = {"payload": {"time_zone": zone}}
    return ConsumedEvent(
        new_id(), "user-updated", "auth", user_id, user_id, 1, 2, clock.now(), data, "", "user-events", b""
    )
