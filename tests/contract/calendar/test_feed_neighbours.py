"""The fullest calendar as a feed, and the largest one of others, beside a second user."""

from collections.abc import AsyncIterator

import grpc
import httpx
import icalendar
import pytest

from harness.http_receiver import answers, receiving
from harness.waiting import until
from mesh.database.pool import Database
from mesh.recurrence.zones import TIME_ZONES
from services.calendar.model import MOST_EVENTS
from services.calendar.rules import subscriptions
from services.calendar.settings import Settings
from tests.contract.calendar.person import Person
from tests.support.neighbours import disturbance

pytestmark = pytest.mark.alone
_FILL = """
    INSERT INTO events SELECT (jsonb_populate_record(events, jsonb_build_object(
        'id', uuidv7(), 'time_zone', (%(zones)s::text[])[1 + number %% cardinality(%(zones)s::text[])]))).*
    FROM events, generate_series(1, %(count)s) AS number WHERE id = %(id)s::uuid"""
_ROWS = """
    INSERT INTO occurrences (event_id, slot, user_id, title, description)
    SELECT id, '2027-01-01T' || to_char(number, 'FM00') || ':00:00', user_id, 'Changed', repeat('ä', 10000)
    FROM events, generate_series(0, 19) AS number WHERE user_id = %(user)s::uuid AND id IN (
        SELECT id FROM events WHERE user_id = %(user)s::uuid LIMIT 50)"""


@pytest.fixture
async def http(channel: grpc.aio.Channel, calendar_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A program that reads feeds."""
    async with httpx.AsyncClient(base_url=f"http://{calendar_settings.http_listen}", timeout=120) as client:
        yield client


async def test_the_fullest_calendar_is_read_beside_others(
    person: Person, http: httpx.AsyncClient, db: Database
) -> None:
    other = await person.another()
    event = await person.event("2027-01-01T00:00:00", title="x" * 255, description="ä" * 2000)
    values = {"id": event.id, "count": MOST_EVENTS - 1, "zones": sorted(TIME_ZONES), "user": person.user_id}
    async with db.connection() as connection:
        await connection.execute(_FILL, values)
        await connection.execute(_ROWS, values)
    path = (await person.files.CreateFeed()).path
    codes, shown, end = list[int](), 0, b""

    async def reading() -> None:
        nonlocal shown, end
        async with http.stream("GET", path) as response:  # 40 MB in one piece would be the test's own
            async for part in response.aiter_raw():
                shown += (end[-11:] + part).count(b"BEGIN:VEVENT")
                end = (end + part)[-40:]
            again = await http.get(path, headers={"if-none-match": response.headers["etag"]})
        codes.extend([response.status_code, again.status_code])

    (await disturbance(reading(), lambda: other.events.ListEvents(timeout=60))).check()
    assert codes == [200, 304]
    assert shown == MOST_EVENTS + 50 * 20
    assert end.endswith(b"END:VEVENT\r\nEND:VCALENDAR\r\n")


async def test_the_largest_calendar_of_others_is_read_beside_others(person: Person) -> None:
    other = await person.another()
    rule = "RRULE:FREQ=DAILY;COUNT=400\r\nEXDATE:20270105T100000Z,20270106T100000Z\r\n"
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{number}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20270101T100000Z\r\nDURATION:PT1H\r\n"
        f"SUMMARY:Event {number}\r\nDESCRIPTION:{'x' * 1500}\r\n{rule}END:VEVENT\r\n"
        for number in range(subscriptions.MOST_EVENTS)
    )
    file = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:a\r\n{events}END:VCALENDAR\r\n".encode()
    assert icalendar.Calendar.from_ical(file[: file.index(b"BEGIN:VEVENT")] + b"END:VCALENDAR\r\n")
    async with receiving() as receiver:
        receiver.respond = answers(200, file)

        async def reading() -> None:
            created = await person.subscriptions.CreateSubscription(url=receiver.url)

            async def is_read() -> bool:
                asked = {"subscription_id": created.subscription.id}
                found = (await person.subscriptions.GetSubscription(timeout=60, **asked)).subscription
                assert not found.error
                return bool(found.event_count == subscriptions.MOST_EVENTS)

            await until(is_read, "the calendar is read", 100, poll=0.5)

        (await disturbance(reading(), lambda: other.events.ListEvents(timeout=60))).check()
