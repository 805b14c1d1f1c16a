"""Publishes that occurrences have ended."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.rpc.etag import next_version
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.slices import in_slices
from services.calendar.events import occurrence_ended
from services.calendar.model import CalendarEvent, Occurrence
from services.calendar.rules.endings import Endings, endings
from services.calendar.rules.series import apart
from services.calendar.store import endings as store
from services.calendar.store import events, occurrences
from services.calendar.store.endings import Due


class OccurrenceEnder(PeriodicTask):
    """Publishes `occurrence-ended` of what has ended, of each user in the order of the ends, also after an outage.

    Sleeps until something ends, at most a second. Any number of replicas: each claims other users, by the database's
    clock, so that nothing ends early.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    batch: ClassVar[int] = 20
    """Events, each with as many rows as an event may have."""
    most: ClassVar[int] = 100
    """Occurrences of one pass, and those that end at the same instant as the last of them."""

    def __init__(self, db: Database) -> None:
        super().__init__("end occurrences")
        self.db = db

    async def run_once(self) -> int:
        """Publishes one batch; returns how many events it was about."""
        async with self.db.transaction() as tx:
            due = await store.claim(tx, self.batch)
            if due:
                # What is not claimed ends later than the last that is.
                until = (due[-1].event.next_end_at or 0) if len(due) == self.batch else due[0].now
                found = await self._found(tx, due, until)
                ended = sorted((each for of_event in found for each in of_event.ended), key=_by_end)
                if len(ended) > self.most:
                    until = ended[self.most - 1].end
                told = _Told({each.event.id: each.event for each in due}, due[0].now)
                ended = [each for each in ended if each.end <= until]
                rows = await occurrences.rows_at(tx, [(each.event.id, each.slot) for each in ended])
                messages = await in_slices(
                    told.message(each._replace(row=rows.get((each.event.id, each.slot)))) for each in ended
                )
                changed = [
                    told.events[each.event.id]._replace(next_end_at=of_event.next_after(until))
                    for each, of_event in zip(due, found, strict=True)
                ]
                # One that was moved after it had ended ends again, perhaps while its first message waits for Kafka.
                known = await outbox.waiting(tx, [message.id for message in messages])
                fresh = [message for message in messages if message.id not in known]
                await events.put_events(tx, changed, SideEffects(fresh, None, ""))
        if due:
            outbox.wake()
            return len(due)
        async with self.db.connection() as connection:
            self.wake_in(await store.seconds_until_due(connection))
        return 0

    async def _found(self, tx: Connection, due: Sequence[Due], until: int) -> list[Endings]:
        """What has ended of each event; rows are looked at in slices, and have no texts."""
        rows = await occurrences.bare_rows(tx, [each.event.id for each in due])
        found: list[Endings] = []
        for event, zone, _ in due:
            own = rows.get(event.id, {})
            beside = await in_slices(apart(event, own, zone))
            found += await in_slices(endings(event, own, until, zone, each) for each in [beside])
        return found


class _Told(NamedTuple):
    """Events, each a version further with each message about it."""

    events: dict[str, CalendarEvent]
    now: int

    def message(self, occurrence: Occurrence) -> Event:
        """That an occurrence has ended."""
        event = self.events[occurrence.event.id] = next_version(self.events[occurrence.event.id], self.now)
        return occurrence_ended(event, occurrence)


def _by_end(occurrence: Occurrence) -> tuple[int, str, str]:
    return occurrence.end, occurrence.event.id, occurrence.slot
