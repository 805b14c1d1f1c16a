"""What becomes of a calendar when its user goes to another zone, or is deleted; from the broker to what is listed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest
from focusmesh.calendar.v1 import event_pb2

from harness.http_receiver import hangs, receiving
from harness.waiting import until
from mesh.database.pool import Database
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from services.calendar.main import build
from services.calendar.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.contract.calendar.person import Person
from tests.support.calendars import settings_for
from tests.support.databases import ServiceUrl, opened
from tests.support.serving import SignerKeys, serving
from tests.support.task_events import publish
from tests.support.tokens import Signer
from tests.support.user_events import TOPIC, a_user_event


@pytest.fixture
def settings(service_url: ServiceUrl, valkey: str, kafka: str, tmp_path: Path) -> Settings:
    """Settings of the service, which consumes from the broker."""
    common = settings_for(
        database_url=service_url("calendar"),
        redis_url=valkey,
        service_key_file=str(Keys(State(tmp_path)).service_key("calendar")),
        call_targets="auth=127.0.0.1:1;todo=127.0.0.1:1;pomodoro=127.0.0.1:1",
    )
    return replace(common, kafka_bootstrap=kafka)


@pytest.fixture
async def channel(settings: Settings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the service."""
    async with serving(build(settings, SignerKeys(signer))) as channel:
        yield channel


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The schema as the service sees it."""
    async with opened(service_url("calendar"), "calendar") as database:
        yield database


@pytest.fixture
async def person(channel: grpc.aio.Channel, signer: Signer, db: Database) -> Person:
    """Somebody in Zurich."""
    return await Person.living_in("Europe/Zurich", channel, signer, db)


async def test_the_events_of_a_deleted_user_are_erased_and_no_others(person: Person, producer: Producer) -> None:
    other = await person.another()
    for each in (person, other):
        await each.event()

    other_changed = a_user_event(other.user_id, "user-updated", time_zone="Europe/Zurich")
    await publish(producer, TOPIC, [other_changed, a_user_event(person.user_id)])

    async def erased() -> bool:
        return not (await person.events.ListEvents()).events

    await until(erased, "the events are erased")
    assert len((await other.events.ListEvents()).events) == 1


async def test_feeds_and_subscriptions_end_with_the_account(
    person: Person, producer: Producer, db: Database, settings: Settings
) -> None:
    other = await person.another()
    async with receiving() as hanging, httpx.AsyncClient(base_url=f"http://{settings.http_listen}") as program:
        hanging.respond = hangs
        paths = [(await each.files.CreateFeed()).path for each in (person, other)]
        await person.subscriptions.CreateSubscription(url=hanging.url)
        await until(lambda: hanging.received, "the address is being read")
        assert [(await program.get(path)).status_code for path in paths] == [200, 200]

        await publish(producer, TOPIC, [a_user_event(person.user_id)])

        async def ended() -> bool:
            return (await program.get(paths[0])).status_code == 404

        await until(ended, "the feed is gone")
        assert (await program.get(paths[1])).status_code == 200
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT (SELECT count(*) FROM feeds), (SELECT count(*) FROM subscriptions), (SELECT count(*) FROM events)"
        )
        assert await cursor.fetchone() == (1, 0, 0)


async def test_a_user_who_travels_takes_along_what_floats_and_nothing_else(person: Person, producer: Producer) -> None:
    floating = await person.event(is_floating=True)
    all_day = await person.event("2026-09-07")
    fixed = await person.event()
    day_before = event_pb2.EventReminder(offset="-P1D")
    reminding = await person.event("2030-03-31", reminders=[day_before])
    at_home = await person.event("2030-03-31T09:00:00", reminders=[day_before])
    assert floating.scheduled_start_time.ToJsonString() == "2026-09-07T16:00:00Z"

    await publish(producer, TOPIC, [a_user_event(person.user_id, "user-updated", time_zone="Asia/Tokyo")])

    async def moved() -> bool:
        return (await person.get(floating.id)).scheduled_start_time.ToJsonString() == "2026-09-07T09:00:00Z"

    await until(moved, "the floating event is on the clock of Tokyo")
    assert (await person.get(all_day.id)).scheduled_start_time.ToJsonString() == "2026-09-06T15:00:00Z"
    waiting = (await person.events.ListUpcomingReminders()).upcoming_reminders
    assert [(each.event_id, each.remind_time.ToJsonString()) for each in waiting] == [
        (reminding.id, "2030-03-29T15:00:00Z"),
        (at_home.id, "2030-03-30T08:00:00Z"),
    ]
    assert (await person.get(floating.id)).etag == floating.etag
    assert await person.get(fixed.id) == fixed
    assert (await person.event(title="Made there")).time_zone == "Asia/Tokyo"


async def test_the_first_message_of_a_user_says_where_they_are(
    channel: grpc.aio.Channel, signer: Signer, db: Database, producer: Producer
) -> None:
    newcomer = Person(channel, signer, db)
    registered = a_user_event(newcomer.user_id, "user-registered", version=1, time_zone="America/New_York")
    with pytest.raises(grpc.aio.AioRpcError):  # nobody can be asked
        await newcomer.event()

    await publish(producer, TOPIC, [registered])

    async def known() -> bool:
        try:
            return bool((await newcomer.event(title=new_id())).time_zone == "America/New_York")
        except grpc.aio.AioRpcError:
            return False

    await until(known, "the zone of the user is known")
