"""What is at the address of a feed: the user's own events, and on request their tasks, as a file of iCalendar."""

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

from focusmesh.todo.v1.task_planning_service_pb2 import DueTask

from mesh.database.pool import Database
from mesh.rpc.http import Request, Response
from mesh.runtime.clock import Clock, from_timestamp
from mesh.runtime.errors import Conflict
from mesh.runtime.slices import in_slices
from services.calendar.clients.tasks import Tasks
from services.calendar.model import CalendarEvent, Feed, OccurrenceRow
from services.calendar.rules import feeds as rules
from services.calendar.rules.ical import writing
from services.calendar.store import feeds as store
from services.calendar.store.feeds import Listed
from services.calendar.store.users import UserZones

MOST_READINGS = 3
"""Of one user at once: readers that take their time keep no place of others."""
_EVENTS, _ROWS = 50, 200
"""Read at once: of events with texts as long as may be some megabytes."""
_PART = 32 * 1024
"""Characters that are sent at once, unless one component has more."""

Rows = dict[str, dict[str, OccurrenceRow]]


class _ChangedMeanwhileError(Conflict):
    """The calendar changed while it was sent: the reader is to come again."""

    reason = "CALENDAR_CHANGED"
    message = "The calendar has changed while it was read."


class Content(NamedTuple):
    """What a feed shows now. A reading that meets another version of an event breaks off."""

    head: str
    zone: str
    """Of the user."""
    events: Sequence[Listed]
    tasks: Sequence[str]

    @property
    def etag(self) -> str:
        """Another one for each other content: events say in it when they changed last."""
        digest = hashlib.sha256(f"{self.zone}\n{self.head}".encode())
        for event in self.events:
            digest.update(f"{event.id} {event.version}\n".encode())
        for task in self.tasks:
            digest.update(task.encode())
        return f'"{digest.hexdigest()[:32]}"'


class FeedFiles:
    """Responds to whoever has the address of a feed."""

    def __init__(self, db: Database, zones: UserZones, tasks: Tasks, clock: Clock) -> None:
        self._db, self._zones, self._tasks, self._clock = db, zones, tasks, clock
        self._readings = Counter[str]()
        """At the moment, by user."""

    async def respond(self, request: Request) -> Response:
        """The file, or what is to be said instead of it. Raises DependencyUnavailable."""
        if request.method not in ("GET", "HEAD"):
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, {"allow": "GET, HEAD"})
        feed = await self._find(request.path)
        if feed is None:
            return Response(HTTPStatus.NOT_FOUND)
        content = await self._content(feed)
        noted = await self._note(feed, content.etag)
        if noted is None:
            return Response(HTTPStatus.NOT_FOUND)
        return self._response(request, noted, content)

    async def _find(self, path: str) -> Feed | None:
        token_hash = rules.hash_in(path)
        if token_hash is None:
            return None
        async with self._db.connection() as connection:
            return await store.find_feed(connection, token_hash)

    def _response(self, request: Request, noted: Feed, content: Content) -> Response:
        headers = {
            "etag": noted.etag,
            "last-modified": rules.http_date(noted.changed_at),
            "cache-control": "private, no-cache",
        }
        if rules.has_already(request.headers, noted.etag, noted.changed_at):
            return Response(HTTPStatus.NOT_MODIFIED, headers)
        headers["content-type"] = "text/calendar; charset=utf-8"
        if request.method == "HEAD":
            return Response(HTTPStatus.OK, headers)
        if self._readings[noted.user_id] >= MOST_READINGS:
            return Response(HTTPStatus.TOO_MANY_REQUESTS, {"retry-after": "30"})
        return Response(HTTPStatus.OK, headers, _Reading(self._readings, noted.user_id, self._file(noted, content)))

    async def _content(self, feed: Feed) -> Content:
        zone = await self._zones.of(feed.user_id)
        tasks = await self._tasks.due(feed.user_id) if feed.include_tasks else []
        async with self._db.connection() as connection:
            events = await store.list_shown(connection, feed.user_id)
        zones = sorted({event.time_zone for event in events if event.time_zone})
        head = await in_slices(writing.head(zones, feed.name))
        return Content("".join(head), zone, events, await in_slices(map(_task, tasks)))

    async def _note(self, feed: Feed, etag: str) -> Feed | None:
        now = self._clock()
        if not rules.is_news(feed, etag, now):
            return feed
        async with self._db.connection() as connection:
            return await store.note_reading(connection, feed, etag, now)

    async def _file(self, feed: Feed, content: Content) -> AsyncGenerator[bytes, None]:
        yield content.head.encode()
        for listed in _pieces(content.events):
            events, rows = await self._read(feed.user_id, listed)
            if len(events) != len(listed):
                raise _ChangedMeanwhileError
            texts = (
                text for event in events for _, text in writing.components(event, rows.get(event.id, {}), content.zone)
            )
            for part in _parts(await in_slices(texts)):
                yield part
        for part in _parts([*content.tasks, writing.END]):
            yield part

    async def _read(self, user_id: str, listed: Sequence[Listed]) -> tuple[list[CalendarEvent], Rows]:
        """Rows before their events, whose versions say that nothing of them has changed since they were listed."""
        rows: Rows = {}
        async with self._db.connection() as connection:
            with_rows = [event.id for event in listed if event.rows]
            if with_rows:
                async for some in store.rows_of_events(connection, with_rows):
                    for row in some:
                        rows.setdefault(row.event_id, {})[row.slot] = row
            return await store.get_shown(connection, user_id, listed), rows


class _Reading:
    """A file that is being sent."""

    def __init__(self, readings: Counter[str], user_id: str, parts: AsyncGenerator[bytes, None]) -> None:
        self._readings, self._user_id, self._parts = readings, user_id, parts
        readings[user_id] += 1

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts

    async def aclose(self) -> None:
        """Ends it, whether it was begun or not."""
        await self._parts.aclose()
        self._readings[self._user_id] -= 1
        if not self._readings[self._user_id]:
            del self._readings[self._user_id]


def _pieces(events: Sequence[Listed]) -> Iterator[Sequence[Listed]]:
    """Events that are read at once: few, and with few rows, unless it is one with many."""
    begin = rows = 0
    for index, event in enumerate(events):
        if index > begin and (index - begin == _EVENTS or rows + event.rows > _ROWS):
            yield events[begin:index]
            begin, rows = index, 0
        rows += event.rows
    if begin < len(events):
        yield events[begin:]


def _parts(texts: Sequence[str]) -> Iterator[bytes]:
    """The texts, some at a time."""
    begin = length = 0
    for index, text in enumerate(texts):
        length += len(text)
        if length >= _PART:
            yield "".join(texts[begin : index + 1]).encode()
            begin, length = index + 1, 0
    if begin < len(texts):
        yield "".join(texts[begin:]).encode()


def _task(task: DueTask) -> str:
    is_complete = task.HasField("complete_time")
    return writing.task(
        task.id,
        task.title,
        from_timestamp(task.due_time),
        from_timestamp(task.complete_time) if is_complete else None,
        from_timestamp(task.create_time),
        from_timestamp(task.update_time),
    )
