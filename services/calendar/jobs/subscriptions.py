"""What reads the addresses of subscriptions when their time has come."""

import asyncio
import logging
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.outgoing.client import Response
from mesh.outgoing.errors import OutgoingFailure, PermanentFailure, TemporaryFailure
from mesh.runtime.clock import Clock
from mesh.runtime.errors import DependencyUnavailable, Overloaded, TokenRevoked
from mesh.runtime.ids import new_id
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.slices import in_slices
from mesh.runtime.worker import Worker, WorkFailedError
from services.calendar.clients.published import PublishedCalendars
from services.calendar.errors import TooManyChanges
from services.calendar.model import CalendarEvent, CalendarSubscription, Change, OccurrenceRow
from services.calendar.rules import changes
from services.calendar.rules import subscriptions as rules
from services.calendar.rules.ical import work
from services.calendar.rules.ical.content import ReadEvent, Summary
from services.calendar.rules.ical.merging import merged, new_event
from services.calendar.rules.ical.reading import TooLargeError, UnreadableError
from services.calendar.store import occurrences
from services.calendar.store import subscriptions as store
from services.calendar.store.changes import Calendars, save
from services.calendar.store.subscriptions import LeaseLostError

log = logging.getLogger(__name__)

CAPACITY = 16
"""Addresses that one replica reads at once, each with up to 4 MiB in memory; of one user one at a time."""
_FAILING = CAPACITY // 2
"""Of them, those that failed last time and may hang again."""
LEASE_SECONDS = 600
"""Longer than any reading; after so long another replica does what one that ended had begun."""
_AGAIN_SECONDS = 30
"""Until what was read and could not be stored is read again: that something is away here is no load for others."""
_EVENTS = 50
"""That are compared and written in one transaction."""
_CLOSE_SECONDS = 3.0


class _Found(NamedTuple):
    """What a file holds."""

    events: Sequence[ReadEvent]
    """Each with another UID, at most MOST_EVENTS."""
    issues: int


class SubscriptionReader(PeriodicTask):
    """Reads what is due, of as many users at once as there are places. Any number of replicas."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)

    def __init__(
        self, db: Database, calendars: Calendars, published: PublishedCalendars, worker: Worker, clock: Clock
    ) -> None:
        """worker: reads files, beside the imports of users."""
        super().__init__("read subscriptions")
        self._db, self._calendars, self._published, self._clock = db, calendars, published, clock
        self._worker, self._turn = worker, asyncio.Lock()
        self._running: dict[asyncio.Task[None], CalendarSubscription] = {}

    async def run_once(self) -> int:
        """Begins to read what is due, as far as there is room; returns how much that is."""
        room = CAPACITY - len(self._running)
        failing = sum(subscription.failures > 0 for subscription in self._running.values())
        claimed = await self._claim(room, failing=False)
        claimed += await self._claim(min(room - len(claimed), _FAILING - failing), failing=True, beside=claimed)
        for subscription in claimed:
            task = asyncio.create_task(self._attempt(subscription), name="read a subscription")
            self._running[task] = subscription
            task.add_done_callback(self._ended)
        if not claimed:
            async with self._db.connection() as connection:
                self.wake_in(await store.seconds_until_due(connection))
        return len(claimed)

    async def close(self, grace: float = _CLOSE_SECONDS) -> None:
        """Lets readings end, for at most `grace` seconds; others are for another replica."""
        await super().close(grace)
        running = list(self._running)
        if running:
            await asyncio.wait(running, timeout=grace)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._published.close()

    async def _claim(
        self, limit: int, *, failing: bool, beside: Sequence[CalendarSubscription] = ()
    ) -> list[CalendarSubscription]:
        if limit <= 0:
            return []
        busy = {subscription.user_id for subscription in (*self._running.values(), *beside)}
        async with self._db.connection() as connection:
            return await store.claim(connection, busy=busy, failing=failing, limit=limit, seconds=LEASE_SECONDS)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        if not task.cancelled() and (error := task.exception()):
            log.error("%s: the result of a reading was not noted", self.name, exc_info=error)
        self.wake()

    async def _attempt(self, subscription: CalendarSubscription) -> None:
        try:
            if subscription.deleted_at is not None:
                await store.remove(self._db, subscription)
                return
            after = await self._read(subscription)
        except LeaseLostError:
            return
        except DependencyUnavailable:
            await self._release(subscription, _AGAIN_SECONDS)
            return
        except asyncio.CancelledError:
            await self._release(subscription, 0)
            raise
        except OutgoingFailure as failure:
            after = rules.failed(subscription, self._clock(), failure.answer, _wish(failure))
        except Exception:
            log.exception("%s: unexpected", self.name)
            after = rules.failed(subscription, self._clock(), "internal error", 0.0)
        async with self._db.connection() as connection:
            await store.save_reading(connection, after)

    async def _release(self, subscription: CalendarSubscription, seconds: int) -> None:
        async with self._db.connection() as connection:
            await store.release_lease(connection, subscription, seconds)

    async def _read(self, subscription: CalendarSubscription) -> CalendarSubscription:
        response = await self._published.read(subscription)
        if response is None:
            return rules.answered(subscription, self._clock())
        zone = await self._calendars.zones.of(subscription.user_id)
        found = await self._parse(response, zone)
        left = await self._replace(subscription, found.events)
        return rules.replaced(
            subscription,
            self._clock(),
            etag=response.headers.get("etag", ""),
            last_modified=response.headers.get("last-modified", ""),
            events=len(found.events) - left,
            issues=found.issues + left,
        )

    async def _parse(self, response: Response, zone: str) -> _Found:
        """The events of a file. One is read at a time: the other places of the worker are for imports."""
        try:
            async with self._turn:
                pieces = await self._worker.run(work.asked(response.body, zone))
            read = await in_slices(map(work.answered, pieces))
        except UnreadableError as error:
            raise PermanentFailure(f"line {error.line}: this is not an iCalendar file") from None
        except TooLargeError as error:
            raise PermanentFailure(f"the file has more than {error.limit:,} {error.what}") from None
        except WorkFailedError as error:
            raise PermanentFailure(f"the file cannot be read: reading it {error}") from None
        except Overloaded:
            raise TemporaryFailure("too much is being read at the moment") from None
        events: dict[str, ReadEvent] = {}
        issues = 0
        for each in read:
            if isinstance(each, Summary):
                issues += each.issue_count
            elif isinstance(each, ReadEvent) and each.uid not in events and len(events) < rules.MOST_EVENTS:
                events[each.uid] = each
            else:
                issues += 1
        return _Found(list(events.values()), issues)

    async def _replace(self, subscription: CalendarSubscription, read: Sequence[ReadEvent]) -> int:
        """Makes the events of a subscription those of its file; returns how many could not be written."""
        left = 0
        for first in range(0, len(read), _EVENTS):
            left += await self._put(subscription, read[first : first + _EVENTS])
        await store.keep_only(self._db, subscription, [event.uid for event in read])
        return left

    async def _put(self, subscription: CalendarSubscription, read: Sequence[ReadEvent]) -> int:
        now = self._clock()
        try:
            async with self._calendars.user(subscription.user_id) as (tx, zone):
                await store.require_lease(tx, subscription)
                known = await store.events_by_uid(tx, subscription.id, [event.uid for event in read])
                rows = await occurrences.all_rows_of(tx, [event.id for event in known.values()])

                def change(each: ReadEvent) -> Change | None:
                    event = known.get(each.uid)
                    own = {} if event is None else rows.get(event.id, {})
                    return _change(each, subscription, event, own, zone, now)

                made = await in_slices(map(change, read))
                changed = [each for each in made if each is not None and each.event is not each.before]
                if changed:
                    await save(tx, changed, SideEffects((), None, ""))
        except TokenRevoked:
            raise LeaseLostError from None
        return made.count(None)


def _change(
    read: ReadEvent,
    subscription: CalendarSubscription,
    event: CalendarEvent | None,
    rows: dict[str, OccurrenceRow],
    zone: str,
    now: int,
) -> Change | None:
    """What becomes of an event; it reminds of nothing. None when it has too many occurrences of their own."""
    read = read._replace(reminders=[])
    try:
        if event is None:
            event_id, user_id = new_id(), subscription.user_id
            made = new_event(read, event_id=event_id, series_id=event_id, user_id=user_id, zone=zone, now=now)
            return changes.created(made.event._replace(subscription_id=subscription.id), made.rows, zone)
        after = merged(read, event, rows, zone)
        if after is None:
            return Change(event, rows, rows, event)
        return changes.changed(event, after.event, rows, after.rows, zone, now)
    except TooManyChanges:
        return None


def _wish(failure: OutgoingFailure) -> float:
    """Seconds after which the other side wants to be asked again."""
    return (failure.retry_after_seconds or 0.0) if isinstance(failure, TemporaryFailure) else 0.0
