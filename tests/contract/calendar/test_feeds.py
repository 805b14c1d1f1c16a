"""Feeds are made, listed and deleted, and read by programs that know no RPCs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import grpc
import httpx
import icalendar
import pytest
from focusmesh.todo.v1 import task_service_pb2, task_service_pb2_grpc

from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.calendar.handlers import feed_files
from services.calendar.main import build
from services.calendar.rules.feeds import MOST_FEEDS
from services.calendar.settings import Settings
from tests.contract.calendar.person import Person
from tests.support.errors import refused
from tests.support.serving import SignerKeys, without_broker
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub


@pytest.fixture
async def http(channel: grpc.aio.Channel, calendar_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A program that reads feeds."""
    async with httpx.AsyncClient(base_url=f"http://{calendar_settings.http_listen}") as client:
        yield client


async def a_path(person: Person, **fields: object) -> str:
    """The path of a new feed."""
    path: str = (await person.files.CreateFeed(name="Mine", **fields)).path
    return path


def titles(response: httpx.Response) -> list[str]:
    """What a feed shows, as a library of others reads it."""
    assert response.status_code == 200
    calendar = icalendar.Calendar.from_ical(response.content)
    return sorted(str(part["summary"]) for part in calendar.walk() if part.name in ("VEVENT", "VTODO"))


async def test_a_feed_is_listed_without_its_address(person: Person) -> None:
    created = await person.files.CreateFeed(name="Phone", include_tasks=True)
    assert created.path.startswith("/v1/calendar/feeds/")
    assert (created.feed.name, created.feed.include_tasks) == ("Phone", True)
    assert list((await person.files.ListFeeds()).feeds) == [created.feed]


async def test_only_a_hash_of_the_address_is_kept(person: Person, db: Database) -> None:
    path = await a_path(person)
    token = path.rpartition("/")[2].removesuffix(".ics")
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT row_to_json(feeds)::text FROM feeds")
        assert token not in str(await cursor.fetchall())


async def test_a_user_has_so_many_feeds_and_no_more(person: Person) -> None:
    made = await asyncio.gather(*(person.files.CreateFeed() for _ in range(MOST_FEEDS)))
    with refused("FEEDS_FULL", limit=str(MOST_FEEDS)):
        await person.files.CreateFeed()
    await person.files.DeleteFeed(feed_id=made[0].feed.id)
    await person.files.CreateFeed()


async def test_a_deleted_feed_is_gone_at_once_and_deleting_is_repeatable(
    person: Person, http: httpx.AsyncClient
) -> None:
    path, request_id = await a_path(person), new_id()
    [feed] = (await person.files.ListFeeds()).feeds
    assert (await http.get(path)).status_code == 200
    first = await person.files.DeleteFeed(feed_id=feed.id, request_id=request_id)
    assert (await http.get(path)).status_code == 404
    assert await person.files.DeleteFeed(feed_id=feed.id, request_id=request_id) == first
    with refused("FEED_NOT_FOUND", feed_id=feed.id):
        await person.files.DeleteFeed(feed_id=feed.id)


async def test_nobody_deletes_the_feed_of_another(person: Person) -> None:
    created = await person.files.CreateFeed()
    other = await person.another()
    with refused("FEED_NOT_FOUND", feed_id=created.feed.id):
        await other.files.DeleteFeed(feed_id=created.feed.id)
    assert not (await other.files.ListFeeds()).feeds


async def test_a_feed_shows_the_users_own_events(person: Person, http: httpx.AsyncClient) -> None:
    other = await person.another()
    await other.event(title="Theirs")
    await person.event(title="Deep work; quiet, \\ really\n")
    await person.event("2026-09-08", title="Holiday")
    response = await http.get(await a_path(person))
    assert titles(response) == ["Deep work; quiet, \\ really\n", "Holiday"]
    assert response.headers["content-type"] == "text/calendar; charset=utf-8"
    calendar = icalendar.Calendar.from_ical(response.content)
    assert str(calendar["x-wr-calname"]) == "Mine"
    assert {str(zone["tzid"]) for zone in calendar.walk("VTIMEZONE")} == {"Europe/Zurich"}


async def test_a_reader_that_has_what_there_is_is_told_so(person: Person, http: httpx.AsyncClient) -> None:
    await person.event()
    path = await a_path(person)
    first = await http.get(path)
    for headers in (
        {"if-none-match": first.headers["etag"]},
        {"if-modified-since": first.headers["last-modified"]},
    ):
        again = await http.get(path, headers=headers)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]

    await person.event(title="Another")
    for headers in (
        {"if-none-match": first.headers["etag"]},
        {"if-modified-since": first.headers["last-modified"]},
    ):
        changed = await http.get(path, headers=headers)
        assert titles(changed) == ["Another", "Deep work"]
    assert changed.headers["etag"] != first.headers["etag"]
    assert parsedate_to_datetime(changed.headers["last-modified"]) > parsedate_to_datetime(
        first.headers["last-modified"]
    )


async def test_the_etag_stays_as_long_as_the_content_does(person: Person, http: httpx.AsyncClient) -> None:
    path = await a_path(person)
    seen: dict[str, bytes] = {}
    for step in range(4):
        if step in (1, 3):
            await person.event(title=f"Event {step}")
        response = await http.get(path)
        assert seen.setdefault(response.headers["etag"], response.content) == response.content
    assert len(seen) == len(set(seen.values())) == 3


async def test_head_says_what_get_would_without_the_file(person: Person, http: httpx.AsyncClient) -> None:
    await person.event()
    path = await a_path(person)
    head, get = await http.head(path), await http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "last-modified", "content-type", "cache-control"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/calendar/feeds/",
        "/v1/calendar/feeds/.ics",
        "/v1/calendar/feeds/" + "a" * 43 + ".ics",
        "/v1/calendar/feeds/" + "a" * 8000 + ".ics",
        "/v1/calendar/feeds/%00.ics",
        "/v1/calendar/feeds/%ff%fe.ics",
    ],
)
async def test_an_unknown_address_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert (response.status_code, response.content) == (404, b"")


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "PROPFIND"])
async def test_a_feed_is_only_read(person: Person, http: httpx.AsyncClient, verb: str) -> None:
    response = await http.request(verb, await a_path(person), content=b"x" * 100_000)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


async def test_when_it_was_read_is_known_to_the_hour(person: Person, http: httpx.AsyncClient) -> None:
    path = await a_path(person)
    [feed] = (await person.files.ListFeeds()).feeds
    assert not feed.HasField("last_read_time")
    before = datetime.now(UTC)
    await http.get(path)
    [feed] = (await person.files.ListFeeds()).feeds
    read = feed.last_read_time.ToDatetime(UTC)
    assert (read.minute, read.second, read.microsecond) == (0, 0, 0)
    assert abs((before - read).total_seconds()) <= 3600


async def test_tasks_that_are_due_are_shown_on_request(
    person: Person, http: httpx.AsyncClient, todo_channel: grpc.aio.Channel, signer: Signer
) -> None:
    todo = UserStub(task_service_pb2_grpc.TaskServiceStub(todo_channel), task_service_pb2, signer, person.user_id)
    due = task_service_pb2.CreateTaskRequest()
    due.due_time.FromJsonString("2026-09-10T10:00:00Z")
    task = (await todo.CreateTask(title="Pay the rent", due_time=due.due_time)).task
    await todo.CreateTask(title="Some day")
    await person.event()
    with_tasks, without = await a_path(person, include_tasks=True), await a_path(person)
    response = await http.get(with_tasks)
    assert titles(response) == ["Deep work", "Pay the rent"]
    assert titles(await http.get(without)) == ["Deep work"]

    await todo.CompleteTask(task_id=task.id)
    changed = await http.get(with_tasks, headers={"if-none-match": response.headers["etag"]})
    [shown] = icalendar.Calendar.from_ical(changed.content).walk("VTODO")
    assert (str(shown["status"]), str(shown["uid"])) == ("COMPLETED", task.id)


async def test_while_todo_is_away_a_feed_with_tasks_is_to_be_read_later(
    person: Person, http: httpx.AsyncClient
) -> None:
    with_tasks, without = await a_path(person, include_tasks=True), await a_path(person)
    response = await http.get(with_tasks)
    assert response.status_code == 503
    assert "retry-after" in response.headers
    assert (await http.get(without)).status_code == 200


async def test_one_users_slow_readers_keep_no_place_of_others(
    person: Person, http: httpx.AsyncClient, calendar_settings: Settings
) -> None:
    path, other = await a_path(person), await person.another()
    for number in range(40):
        await person.event(title=f"{number}", description="x" * 10_000)
    host, _, port = calendar_settings.http_listen.rpartition(":")
    slow = []
    for _ in range(feed_files.MOST_READINGS):
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await reader.read(1)
        slow.append(writer)
    statuses = {(await http.get(path)).status_code for _ in range(3)}
    assert (await http.get(await a_path(other))).status_code == 200
    for writer in slow:
        writer.transport.abort()

    async def is_served() -> bool:
        return (await http.get(path)).status_code == 200

    await until(is_served, "readers that have gone leave their places")
    assert statuses <= {200, 429}


async def test_a_calendar_that_changes_while_it_is_sent_breaks_off(
    person: Person, http: httpx.AsyncClient, db: Database
) -> None:
    path = await a_path(person)
    for number in range(60):
        await person.event(title=f"{number}", description="x" * 10_000)
    last = (await person.events.ListEvents(page_size=1)).events[0]
    async with http.stream("GET", path) as response:
        parts = response.aiter_raw(1000)
        await anext(parts)
        async with db.connection() as connection:
            await connection.execute("UPDATE events SET version = version + 1 WHERE id = %s::uuid", (last.id,))
        with pytest.raises(httpx.RemoteProtocolError):
            await _read_all(parts)
    assert len(titles(await http.get(path))) == 60


async def _read_all(parts: AsyncIterator[bytes]) -> None:
    async for _ in parts:
        pass


async def test_the_listener_says_that_it_leaves_and_serves_until_that_is_noticed(
    calendar_settings: Settings, signer: Signer
) -> None:
    settings = replace(calendar_settings, drain_seconds=1.0)
    stop = asyncio.Event()
    running = asyncio.create_task(without_broker(build(settings, SignerKeys(signer))).serve(stop))
    async with httpx.AsyncClient(base_url=f"http://{settings.http_listen}") as client:

        async def says(status: int) -> bool:
            with suppress(httpx.ConnectError):
                return (await client.get("/healthz")).status_code == status
            return False

        await until(lambda: says(200), "it serves")
        stop.set()
        await until(lambda: says(503), "it leaves")
        assert (await client.get("/v1/calendar/feeds/unknown.ics")).status_code == 404
        await running
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
