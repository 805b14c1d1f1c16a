"""Reminders of events over the broker: from three replicas of the calendar to the inbox of their user."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from focusmesh.calendar.v1 import event_pb2
from focusmesh.notification.v1 import reminder_pb2

from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime import clock
from mesh.runtime.clock import DAY
from mesh.runtime.ids import new_id
from services.notification import main as notification
from services.notification.settings import Settings
from stack.keys import Keys
from tests.contract.calendar.person import Person
from tests.contract.notification.people import Person as Reminded
from tests.contract.notification.people import after
from tests.events.calendar.replicas import Replicas, published
from tests.store.calendar.kept import kept
from tests.support.calendar_model import an_event
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.tokens import Signer

AT_START = event_pb2.EventReminder(offset="PT0S")


@pytest.fixture
async def inbox(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer, keys: Keys
) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the notification service, which consumes from the broker."""
    common = settings_for(
        database_url=service_url("notification"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("notification")),
        call_targets="auth=127.0.0.1:1",
    )
    settings = Settings(
        **vars(replace(common, kafka_bootstrap=kafka)), secrets_key="of these tests", settle_seconds=0.2
    )
    async with serving(notification.build(settings, SignerKeys(signer))) as channel:
        yield channel


def soon(seconds: float) -> str:
    """The local time so many seconds from now in UTC."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0, tzinfo=None).isoformat()


async def test_three_replicas_fire_what_an_outage_of_hours_kept_back_once_each(
    db: Database, replicas: Replicas, signer: Signer, kafka: str
) -> None:
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    person = await Person.living_in("UTC", channel, signer, db)
    start = (datetime.now(UTC) - timedelta(days=2, hours=3)).replace(microsecond=0, tzinfo=None).isoformat()
    for _ in range(60):
        event = an_event(
            start,
            "FREQ=DAILY",
            id=new_id(),
            user_id=person.user_id,
            time_zone="UTC",
            created_at=clock.now() - 10 * DAY,
            reminders=[{"offset": "-PT10M", "channel": "in_app"}],
        )
        await kept(db, event)
    await replicas.start()
    found = await asyncio.to_thread(published, kafka, "reminders", person.user_id, 180)
    each = Counter((event["subject"], event["data"]["payload"]["slot"]) for event in found)
    assert len(each) == 180
    assert len({event["id"] for event in found}) == 180
    of_event: dict[str, list[str]] = {}
    for message in found:
        assert message["time"] >= message["data"]["payload"]["reminder_time"]
        of_event.setdefault(message["subject"], []).append(message["data"]["payload"]["slot"])
    assert all(slots == sorted(slots) for slots in of_event.values())
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM event_reminders WHERE remind_at > now()")
        assert await cursor.fetchone() == (60,)


async def test_a_reminder_comes_to_the_inbox_once_and_never_early_with_three_replicas(
    db: Database, replicas: Replicas, inbox: grpc.aio.Channel, signer: Signer, kafka: str
) -> None:
    channel = await replicas.start()
    person = await Person.living_in("UTC", channel, signer, db)
    reminded = Reminded(inbox, signer, person.user_id)
    events = [await person.event(soon(4), reminders=[AT_START]) for _ in range(5)]
    shown = await reminded.shown(5)
    assert {each.event_id for each in shown} == {event.id for event in events}
    for each in shown:
        assert each.create_time.ToNanoseconds() >= each.scheduled_time.ToNanoseconds()
        assert not each.is_late
    assert len(await asyncio.to_thread(published, kafka, "reminders", person.user_id, 5)) == 5
    assert len((await reminded.ListDeliveries()).deliveries) == 5


async def test_what_is_snoozed_goes_with_its_occurrence_and_comes_back_with_it(
    db: Database, replicas: Replicas, inbox: grpc.aio.Channel, signer: Signer
) -> None:
    channel = await replicas.start()
    person = await Person.living_in("UTC", channel, signer, db)
    reminded = Reminded(inbox, signer, person.user_id)
    event = await person.event(soon(2), reminders=[AT_START], repeat_type=event_pb2.REPEAT_TYPE_DAILY)
    [shown] = await reminded.shown()
    await reminded.SnoozeReminder(reminder_id=shown.reminder_id, remind_time=after(600))
    occurrence_id = f"{event.id}_{event.start.replace('-', '').replace(':', '')}"

    async def error() -> str:
        return str((await reminded.GetReminder(reminder_id=shown.reminder_id)).reminder.error)

    async def is_cancelled() -> bool:
        return await error() == "OCCURRENCE_CANCELLED"

    async def is_back() -> bool:
        reminder = (await reminded.GetReminder(reminder_id=shown.reminder_id)).reminder
        return bool(reminder.state == reminder_pb2.REMINDER_STATE_PENDING)

    await person.occurrences.CancelOccurrence(occurrence_id=occurrence_id)
    await until(is_cancelled, "the reminder is cancelled with its occurrence")
    await person.occurrences.RestoreOccurrence(occurrence_id=occurrence_id)
    await until(is_back, "the reminder is back with its occurrence")
    await person.events.DeleteEvent(event_id=event.id, scope=3)

    async def is_gone() -> bool:
        return await error() == "EVENT_DELETED"

    await until(is_gone, "the reminder is cancelled with its event")
