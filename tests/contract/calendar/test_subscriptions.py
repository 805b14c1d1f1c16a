"""Calendars of others are followed: read again and again, and never trusted."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest
from focusmesh.calendar.v1 import calendar_subscription_service_pb2 as pb

from harness.http_receiver import Receiver, Respond, answers, hangs, hangs_up, receiving, repeats
from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.calendar.clients import published
from services.calendar.main import build
from services.calendar.rules import subscriptions as rules
from services.calendar.settings import Settings
from services.calendar.store import subscriptions as store
from tests.contract.calendar.person import Person
from tests.support.errors import refused
from tests.support.ports import LOOPBACK, free_ports
from tests.support.serving import SignerKeys, serving, without_broker
from tests.support.tokens import Signer

HEAD = b"HTTP/1.1 200 OK\r\n"


def a_file(*titles: str, more: str = "") -> bytes:
    """A calendar with an event of each title; its UID is the title."""
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{title}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260907T100000Z\r\n"
        f"DTEND:20260907T110000Z\r\nSUMMARY:{title}\r\n{more}END:VEVENT\r\n"
        for title in titles
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//of//others//EN\r\n{events}END:VCALENDAR\r\n".encode()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The server of others."""
    async with receiving() as receiver:
        receiver.respond = answers(200, a_file("Lunch", "Match"), ETag='"1"', Content_Type="text/plain")
        yield receiver


async def follow(person: Person, receiver: Receiver, path: str = "/a.ics") -> pb.Subscription:
    """A new subscription, once it was read."""
    created = await person.subscriptions.CreateSubscription(name="Theirs", url=f"{receiver.url}{path}")
    return await read(person, created.subscription.id)


async def read(person: Person, subscription_id: str, before: pb.Subscription | None = None) -> pb.Subscription:
    """The subscription once it was read; again, when it is given as it was before."""

    async def is_read() -> bool:
        found = await get(person, subscription_id)
        if before is None:
            return found.HasField("read_time") or bool(found.error)
        return (found.read_time, found.error) != (before.read_time, before.error)

    await until(is_read, "the address is read")
    return await get(person, subscription_id)


async def get(person: Person, subscription_id: str) -> pb.Subscription:
    """The subscription as it is now."""
    found: pb.Subscription = (await person.subscriptions.GetSubscription(subscription_id=subscription_id)).subscription
    return found


async def make_due(db: Database) -> None:
    """Lets an hour pass for all subscriptions."""
    async with db.connection() as connection:
        await connection.execute("UPDATE subscriptions SET next_read_at = now() WHERE leased_until IS NULL")


async def titles(person: Person, subscription_id: str) -> list[str]:
    """The titles of the events of a subscription."""
    listed = await person.events.ListEvents(subscription_id=subscription_id, page_size=1000)
    return sorted(event.title for event in listed.events)


async def test_the_events_of_an_address_are_listed_soon(person: Person, receiver: Receiver) -> None:
    subscription = await follow(person, receiver)
    assert (subscription.name, subscription.url) == ("Theirs", f"{receiver.url}/a.ics")
    assert (subscription.event_count, subscription.issue_count, subscription.error) == (2, 0, "")
    assert await titles(person, subscription.id) == ["Lunch", "Match"]
    assert not (await person.events.ListEvents()).events, "they are not the user's own"
    wait = subscription.next_read_time.ToDatetime(UTC) - datetime.now(UTC)
    assert 3500 < wait.total_seconds() <= 3600
    assert list((await person.subscriptions.ListSubscriptions()).subscriptions) == [subscription]


async def test_they_are_read_only_and_publish_nothing(person: Person, receiver: Receiver, db: Database) -> None:
    alarm = "BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT5M\r\nEND:VALARM\r\n"
    receiver.respond = answers(200, a_file("Lunch", more=alarm))
    subscription = await follow(person, receiver)
    [event] = (await person.events.ListEvents(subscription_id=subscription.id)).events
    assert not event.reminders
    with refused("EVENT_READ_ONLY", event_id=event.id):
        await person.events.DeleteEvent(event_id=event.id)
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT (SELECT count(*) FROM outbox), count(next_end_at) FROM events")
        assert await cursor.fetchone() == (0, 0)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://a.example/b.ics", "must begin with https://"),
        ("https://10.0.0.1/b.ics", "must not be an address that is not public"),
        ("webcal://[::1]/b.ics", "must not be an address that is not public"),
        ("https://user:secret@a.example/", "must not contain a user name or password"),
        ("nonsense", "must begin with https://"),
    ],
)
async def test_an_address_that_may_not_be_read_is_refused(person: Person, url: str, problem: str) -> None:
    with refused("URL_NOT_ALLOWED", problem=problem) as error:
        await person.subscriptions.CreateSubscription(url=url)
    assert error.fields == ["url"]
    assert not (await person.subscriptions.ListSubscriptions()).subscriptions


async def test_webcal_is_kept_as_what_it_means(person: Person) -> None:
    created = await person.subscriptions.CreateSubscription(url="webcal://name.invalid/b.ics")
    assert created.subscription.url == "https://name.invalid/b.ics"


async def test_a_user_has_so_many_subscriptions_and_no_more(person: Person, receiver: Receiver) -> None:
    receiver.respond = hangs_up
    for number in range(rules.MOST_SUBSCRIPTIONS):
        await person.subscriptions.CreateSubscription(url=f"{receiver.url}/{number}")
    with refused("SUBSCRIPTIONS_FULL", limit=str(rules.MOST_SUBSCRIPTIONS)):
        await person.subscriptions.CreateSubscription(url=f"{receiver.url}/more")


async def test_a_repeated_call_makes_one_subscription(person: Person, receiver: Receiver) -> None:
    request_id = new_id()
    made = [await person.subscriptions.CreateSubscription(url=receiver.url, request_id=request_id) for _ in range(2)]
    assert made[0] == made[1]
    assert len((await person.subscriptions.ListSubscriptions()).subscriptions) == 1


async def test_what_has_not_changed_is_not_sent_again(person: Person, receiver: Receiver, db: Database) -> None:
    modified = "Mon, 07 Sep 2026 10:00:00 GMT"
    receiver.respond = answers(200, a_file("Lunch"), ETag='W/"1"', Last_Modified=modified)
    before = await follow(person, receiver)
    receiver.respond = answers(304)
    await make_due(db)
    after = await read(person, before.id, before)
    assert (after.event_count, after.error) == (1, "")
    headers = receiver.received[-1].headers
    assert (headers["if-none-match"], headers["if-modified-since"]) == ('W/"1"', modified)
    assert await titles(person, before.id) == ["Lunch"]


async def test_a_changed_file_changes_its_events_and_no_others(
    person: Person, receiver: Receiver, db: Database
) -> None:
    own = await person.event(title="Mine")
    receiver.respond = answers(200, a_file("Gone", "Lunch", "Match"))
    before = await follow(person, receiver)
    events = {event.uid: event for event in (await person.events.ListEvents(subscription_id=before.id)).events}
    changed = a_file("Lunch", "Match", "New").replace(b"SUMMARY:Match", b"SUMMARY:Final match")
    receiver.respond = answers(200, changed)
    await make_due(db)
    after = await read(person, before.id, before)
    assert after.event_count == 3
    assert await titles(person, before.id) == ["Final match", "Lunch", "New"]
    now = {event.uid: event for event in (await person.events.ListEvents(subscription_id=before.id)).events}
    assert now["Lunch"] == events["Lunch"]
    assert now["Match"].id == events["Match"].id
    assert await person.get(own.id) == own


async def test_what_a_file_has_that_cannot_be_kept_is_counted(person: Person, receiver: Receiver) -> None:
    task = b"BEGIN:VTODO\r\nUID:t\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:Do\r\nEND:VTODO\r\nEND:VCALENDAR"
    broken = b"BEGIN:VEVENT\r\nUID:b\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:No start\r\nEND:VEVENT\r\n"
    receiver.respond = answers(200, a_file("Lunch").replace(b"END:VCALENDAR", broken + task))
    subscription = await follow(person, receiver)
    assert (subscription.event_count, subscription.issue_count) == (1, 2)


@pytest.mark.parametrize(
    ("respond", "error"),
    [
        (answers(404, b"<html>secret"), "HTTP 404"),
        (answers(500), "HTTP 500"),
        (answers(200, b"<html>"), "line 1: this is not an iCalendar file"),
        (answers(200, b""), "line 1: this is not an iCalendar file"),
        (answers(200, b"\x1f\x8b", Content_Encoding="gzip"), "the response is compressed, which was not asked for"),
        (hangs_up, "no response: "),
        (hangs, "no whole response within 1 s"),
        (repeats(HEAD + b"Content-Length: 1000\r\n\r\n", b".", 0.05), "no whole response within 1 s"),
        (
            repeats(HEAD + b"Content-Length: 99999999\r\n\r\n", b"x" * 60_000),
            "the response has more than 4,194,304 ",
        ),
        (answers(302, Location="/again"), "more than 5 redirects"),
        (
            answers(302, Location="http://127.0.0.2:1/"),
            "not called: the address must not be ",
        ),
        (answers(302, Location="file:///etc/passwd"), "not called: the address must begin with https://"),
        (
            answers(302, Location="https://localhost.localdomain.invalid/"),
            "localhost.localdomain.invalid was not found",
        ),
    ],
)
async def test_an_address_that_fails_says_why_and_leaves_its_events(
    monkeypatch: pytest.MonkeyPatch,
    calendar_settings: Settings,
    signer: Signer,
    db: Database,
    receiver: Receiver,
    respond: Respond,
    error: str,
) -> None:
    monkeypatch.setattr(published, "SECONDS", 1.0)
    async with serving(without_broker(build(calendar_settings, SignerKeys(signer)))) as channel:
        person = await Person.living_in("Europe/Zurich", channel, signer, db)
        before = await follow(person, receiver)
        receiver.respond = respond
        await make_due(db)
        after = await read(person, before.id, before)
        assert after.error.startswith(error)
        assert "secret" not in after.error
        assert (after.event_count, after.read_time) == (2, before.read_time)
        assert await titles(person, before.id) == ["Lunch", "Match"]
        assert after.next_read_time.ToDatetime(UTC) > datetime.now(UTC)


async def test_no_address_inside_is_called(
    calendar_settings: Settings, signer: Signer, db: Database, receiver: Receiver
) -> None:
    settings = replace(calendar_settings, outgoing_allowed_networks="")
    async with serving(without_broker(build(settings, SignerKeys(signer)))) as channel:
        person = await Person.living_in("Europe/Zurich", channel, signer, db)
        created = await person.subscriptions.CreateSubscription(url=f"https://localhost:{receiver.port}/")
        subscription = await read(person, created.subscription.id)
    assert re.fullmatch(r"not called: localhost is at \S+, which is not a public address", subscription.error)
    assert receiver.connections == 0


async def test_a_refresh_reads_again_but_not_at_once(person: Person, receiver: Receiver, db: Database) -> None:
    before = await follow(person, receiver)
    refreshed = (await person.subscriptions.RefreshSubscription(subscription_id=before.id)).subscription
    wait = refreshed.next_read_time.ToDatetime(UTC) - datetime.now(UTC)
    assert 280 < wait.total_seconds() <= 300
    async with db.connection() as connection:
        await connection.execute("UPDATE subscriptions SET tried_at = tried_at - interval '5 minutes'")
    await person.subscriptions.RefreshSubscription(subscription_id=before.id)
    await read(person, before.id, refreshed)
    assert len(receiver.received) == 2


async def test_a_subscription_goes_with_its_events(person: Person, receiver: Receiver, db: Database) -> None:
    receiver.respond = answers(200, a_file(*(f"Event {number}" for number in range(450))))
    subscription, request_id = await follow(person, receiver), new_id()
    own = await person.event()
    ended = await person.subscriptions.DeleteSubscription(subscription_id=subscription.id, request_id=request_id)
    again = await person.subscriptions.DeleteSubscription(subscription_id=subscription.id, request_id=request_id)
    assert ended.subscription == again.subscription == subscription
    assert await titles(person, subscription.id) == []
    assert await person.get(own.id) == own
    with refused("SUBSCRIPTION_NOT_FOUND", subscription_id=subscription.id):
        await get(person, subscription.id)
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT (SELECT count(*) FROM subscriptions), count(*) FROM events")
        assert await cursor.fetchone() == (0, 1)


async def test_what_a_deletion_did_not_get_to_is_removed_later(
    person: Person, receiver: Receiver, db: Database
) -> None:
    subscription = await follow(person, receiver)
    async with db.connection() as connection:
        await connection.execute(
            "UPDATE subscriptions SET deleted_at = now(), next_read_at = now(), version = version + 1"
        )

    async def is_removed() -> bool:
        async with db.connection() as connection:
            cursor = await connection.execute("SELECT (SELECT count(*) FROM subscriptions), count(*) FROM events")
            return await cursor.fetchone() == (0, 0)

    await until(is_removed, "the rest is removed")
    assert not (await person.subscriptions.ListSubscriptions()).subscriptions
    assert subscription.event_count == 2


async def test_a_subscription_that_is_deleted_while_it_is_read_stays_deleted(
    person: Person, receiver: Receiver, db: Database
) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def when_released(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await release.wait()
        await answers(200, a_file("Late"))(writer)

    receiver.respond = when_released
    created = await person.subscriptions.CreateSubscription(url=receiver.url)
    await asked.wait()
    await person.subscriptions.DeleteSubscription(subscription_id=created.subscription.id)
    release.set()
    other = await person.another()
    receiver.respond = answers(200, a_file("Lunch"))
    await follow(other, receiver)
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT title FROM events")
        assert await cursor.fetchall() == [("Lunch",)]


async def test_nobody_touches_the_subscription_of_another(person: Person, receiver: Receiver) -> None:
    subscription, other = await follow(person, receiver), await person.another()
    stub = other.subscriptions
    for rpc in (stub.GetSubscription, stub.RefreshSubscription, stub.DeleteSubscription):
        with refused("SUBSCRIPTION_NOT_FOUND", subscription_id=subscription.id):
            await rpc(subscription_id=subscription.id)


async def test_hanging_addresses_of_one_user_take_one_place(person: Person, receiver: Receiver) -> None:
    other = await person.another()
    async with receiving() as hanging:
        hanging.respond = hangs
        for number in range(rules.MOST_SUBSCRIPTIONS):
            await person.subscriptions.CreateSubscription(url=f"{hanging.url}/{number}")
        await until(lambda: hanging.connections, "the first one hangs")
        assert (await follow(other, receiver)).event_count == 2
        assert hanging.connections == 1


async def test_what_has_no_place_is_not_looked_for_until_one_is_free(
    person: Person, receiver: Receiver, db: Database
) -> None:
    receiver.respond = hangs
    for number in range(2):
        await person.subscriptions.CreateSubscription(url=f"{receiver.url}/{number}")
    await until(lambda: receiver.connections, "the first one hangs")
    async with db.connection() as connection:
        assert await store.seconds_until_due(connection) is None


async def test_an_address_is_left_alone_for_a_while_when_what_was_read_cannot_be_stored(
    person: Person, receiver: Receiver, db: Database
) -> None:
    created = await follow(person, receiver)
    async with db.connection() as connection:  # auth, which is away, would have to say where the user is
        await connection.execute("UPDATE users SET time_zone = NULL WHERE user_id = %s::uuid", (person.user_id,))

    async def is_given_back() -> bool:
        query = "SELECT leased_until BETWEEN now() AND now() + interval '1 minute' FROM subscriptions WHERE id = %s"
        async with db.connection() as connection:
            row = await (await connection.execute(query, (created.id,))).fetchone()
        return bool(row and row[0])

    await make_due(db)
    await until(is_given_back, "the reading is put off")
    assert len(receiver.received) == 2


async def test_of_several_replicas_one_reads(
    calendar_settings: Settings, channel: grpc.aio.Channel, person: Person, receiver: Receiver, signer: Signer
) -> None:
    listen, http_listen = (f"{LOOPBACK}:{port}" for port in free_ports(2))
    second = replace(calendar_settings, listen=listen, http_listen=http_listen)
    people = [person, *[await person.another() for _ in range(5)]]
    async with serving(without_broker(build(second, SignerKeys(signer)))):
        await asyncio.gather(*(follow(each, receiver, f"/{number}") for number, each in enumerate(people)))
    assert sorted(received.target for received in receiver.received) == [f"/{number}" for number in range(6)]


async def test_more_events_than_there_may_be_are_left_out(person: Person, receiver: Receiver) -> None:
    receiver.respond = answers(200, a_file(*(f"{number:05}" for number in range(rules.MOST_EVENTS + 10))))
    created = await person.subscriptions.CreateSubscription(url=receiver.url)

    async def is_read() -> bool:
        return (await get(person, created.subscription.id)).event_count > 0

    await until(is_read, "the address is read", 60)
    subscription = await get(person, created.subscription.id)
    assert (subscription.event_count, subscription.issue_count) == (rules.MOST_EVENTS, 10)
