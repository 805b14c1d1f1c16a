"""The RPCs of CalendarFileService that are about files, one method each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

from focusmesh.calendar.v1 import calendar_file_service_pb2 as pb

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.outbox import Event, SideEffects, store_response
from mesh.rpc.call import Context, current_call
from mesh.rpc.pagination import LARGEST_RESPONSE, Key, Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from mesh.runtime.worker import Worker, WorkFailedError
from services.calendar import events as messages
from services.calendar.clients.tasks import Tasks
from services.calendar.errors import FileTooLarge, FileUnreadable
from services.calendar.handlers.feeds import FeedHandlers
from services.calendar.model import CalendarEvent, OccurrenceRow, Status
from services.calendar.rules.ical import work, writing
from services.calendar.rules.ical.content import ReadEvent, ReadTask, Summary
from services.calendar.rules.ical.plan import Known, Outcome, Plan, Step
from services.calendar.rules.ical.reading import TooLargeError, UnreadableError
from services.calendar.store import events, feeds, imports
from services.calendar.store.changes import Calendars, save
from services.calendar.store.feeds import Listed
from services.calendar.store.users import UserZones
from services.calendar.wire.files import report_to_pb, task_to_pb

READ_SECONDS = 20.0
"""For the reading of one file: the largest ordinary one takes 2 s."""
_MEMORY_BYTES, _RESULT_BYTES, _QUEUE = 768 * 1024 * 1024, 64 * 1024 * 1024, 8
_AT_ONCE, _SAVED_AT_ONCE = 200, 50
"""Events that are looked for in one statement; events, with their occurrences that differ, that are written in one."""
_BEGUN, _DONE = " ", "~"
"""In a page token: before and after every slot of an event."""
_MESSAGES = {
    Outcome.CREATED: messages.event_created,
    Outcome.UPDATED: messages.event_updated,
    Outcome.REMOVED: messages.event_deleted,
}


def reader() -> Worker:
    """The process that reads files."""
    return Worker(
        f"{work.__name__}:run",
        seconds=READ_SECONDS,
        memory_bytes=_MEMORY_BYTES,
        result_bytes=_RESULT_BYTES,
        queue=_QUEUE,
    )


class FileHandlers(FeedHandlers):
    """Files and feeds of the caller."""

    def __init__(
        self,
        db: Database,
        pages: Pages,
        calendars: Calendars,
        zones: UserZones,
        tasks: Tasks,
        reader: Worker,
        clock: Clock,
    ) -> None:
        super().__init__(db, calendars, clock)
        self.pages, self.zones, self.tasks, self.reader = pages, zones, tasks, reader

    async def ImportEvents(self, request: pb.ImportEventsRequest, context: Context) -> pb.ImportEventsResponse:
        call = current_call()
        file = await self._read(request.content, await self.zones.of(call.user_id))
        groups = [list(group) for _, group in groupby(file.events, key=lambda read: read.of_uid)]
        if file.tasks and not request.dry_run:
            async with self.calendars.user(call.user_id, alone=True) as (tx, zone):  # refuses before todo has tasks
                await self._plan(tx, zone, groups)
        imported = await self.tasks.import_all(
            call.user_id, [task_to_pb(task) for task in file.tasks], dry_run=request.dry_run
        )
        async with self.calendars.user(call.user_id, alone=True) as (tx, zone):
            steps = await self._plan(tx, zone, groups)
            found = [step.issue for step in steps if step.issue is not None]
            counts = Counter(step.outcome for step in steps)
            response = report_to_pb(counts, file.summary, found, Counter(imported))
            if not request.dry_run:
                for some in _pieces(steps):
                    made = await in_slices(chain.from_iterable(map(_published, some)))
                    side_effects = SideEffects(made, None, call.traceparent)
                    await save(tx, [step.change for step in some if step.change is not None], side_effects)
                await store_response(tx, call.side_effects(response))
        return response

    async def ExportEvents(self, request: pb.ExportEventsRequest, context: Context) -> pb.ExportEventsResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        zone = await self.zones.of(user_id)
        async with self.db.connection() as connection:
            listed = await feeds.list_shown(connection, user_id)
            if request.HasField("event_id"):
                listed = [each for each in listed if each.id == request.event_id]
                await events.get_event(connection, user_id, request.event_id)
            texts = list[str]()
            if page.after is None:
                zones = sorted({each.time_zone for each in listed if each.time_zone})
                texts += await in_slices(writing.head(zones))
            last = await self._write(connection, _rest(listed, page.after), page.size, page.after, zone, texts)
        if last is None:
            texts.append(writing.END)
        return self.pages.lead_on(pb.ExportEventsResponse(text="".join(texts)), page, last)

    async def _read(self, content: bytes, zone: str) -> "_File":
        try:
            pieces = await self.reader.run(work.asked(content, zone))
            found = await in_slices(map(work.answered, pieces))
        except WorkFailedError:
            raise FileTooLarge(limit=int(READ_SECONDS), what="seconds of work") from None
        except TooLargeError as error:
            raise FileTooLarge(limit=error.limit, what=error.what) from None
        except UnreadableError as error:
            raise FileUnreadable(line=error.line) from None
        return _File(found)

    async def _plan(self, tx: Connection, zone: str, groups: list[list[ReadEvent]]) -> list[Step]:
        """What is done with the events of a file. Raises EventsFull."""
        user_id, now, steps = current_call().user_id, self.clock(), list[Step]()
        in_file = {read.uid for group in groups for read in group}
        for begin in range(0, len(groups), _AT_ONCE):
            some = groups[begin : begin + _AT_ONCE]
            there = await imports.lock_imported(tx, user_id, {read.of_uid for group in some for read in group})
            rows = await imports.rows_by_event(tx, [event.id for event in there])
            plan = Plan(Known(there, rows), user_id=user_id, zone=zone, now=now, in_file=in_file)
            ids = iter(new_id, None)
            steps += await in_slices(step for group in some for step in plan.steps(group, ids))
        created = sum(step.outcome == Outcome.CREATED for step in steps)
        removed = sum(step.outcome == Outcome.REMOVED for step in steps)
        if created > removed:
            await events.require_room(tx, user_id, created - removed)
        return steps

    async def _write(
        self,
        connection: Connection,
        listed: Sequence[Listed],
        most: int,
        after: Key | None,
        zone: str,
        texts: list[str],
    ) -> Key | None:
        """Writes events until the page is full; returns after what, None when all were written."""
        size = sum(map(_bytes, texts))
        for count, each in enumerate(listed):
            if count and (count == most or size > LARGEST_RESPONSE):
                return [listed[count - 1].id, _DONE]
            found = await feeds.get_shown(connection, current_call().user_id, [each])
            rows = (await imports.rows_by_event(connection, [each.id] if each.rows else [])).get(each.id, {})
            slot = str(after[1]) if after is not None and after[0] == each.id else ""
            for event in found:
                written = await in_slices(_limited(event, rows, zone, slot, LARGEST_RESPONSE - size))
                texts += [text for _, text in written]
                size += sum(_bytes(text) for _, text in written)
                if written and size >= LARGEST_RESPONSE:
                    return [each.id, written[-1][0]]
        return None


class _File:
    """What a file was read into."""

    def __init__(self, found: Iterable[ReadEvent | ReadTask | Summary]) -> None:
        self.events: list[ReadEvent] = []
        self.tasks: list[ReadTask] = []
        self.summary = Summary((), 0, 0)
        for each in found:
            if isinstance(each, ReadEvent):
                self.events.append(each)
            elif isinstance(each, ReadTask):
                self.tasks.append(each)
            else:
                self.summary = each


def _published(step: Step) -> Iterator[Event]:
    """What is published about a step that changes something, each a version of its event; the last one is stored."""
    assert step.change is not None  # noqa: S101 (`_pieces` has no others)
    event = step.change.event
    first = event.version - len(step.told)
    yield _MESSAGES[step.outcome](event._replace(version=first))
    for version, occurrence in enumerate(step.told, first + 1):
        is_cancelled = occurrence.status == Status.CANCELLED
        tell = messages.occurrence_cancelled if is_cancelled else messages.occurrence_moved
        yield tell(event._replace(version=version), occurrence)


def _pieces(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """The steps that change something, some at a time, each of another event."""
    some, size = list[Step](), 0
    for step in steps:
        if step.change is None:
            continue
        if any(each.change is not None and each.change.event.id == step.change.event.id for each in some):
            yield some
            some, size = [], 0
        some.append(step)
        size += 1 + len(step.change.rows)
        if size >= _SAVED_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _rest(listed: Sequence[Listed], after: Key | None) -> Sequence[Listed]:
    """The events that are left to be written; of one that is gone meanwhile those after it."""
    if after is None:
        return listed
    index = next((index for index, each in enumerate(listed) if each.id == after[0]), None)
    if index is None:
        return [each for each in listed if each.id > str(after[0])]
    return listed[index + (after[1] == _DONE) :]


def _limited(
    event: CalendarEvent, rows: dict[str, OccurrenceRow], zone: str, after: str, size: int
) -> Iterator[tuple[str, str]]:
    """The components of an event until they have so many bytes, each with the slot after which to go on."""
    for slot, text in writing.components(event, rows, zone, after):
        yield slot or _BEGUN, text
        size -= _bytes(text)
        if size <= 0:
            return


def _bytes(text: str) -> int:
    return len(text.encode())
