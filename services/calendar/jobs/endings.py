"""Publishes that occurrences have ended."""

from collections.abc import Sequence
from typing import ClassVar

from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.rpc.etag import next_version
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.slices import in_slices
from services.calendar.events import occurrence_ended
from services.calendar.model import CalendarEvent, Occurrence
from services.calendar.rules.endings import Ending
from services.calendar.store import endings, events, occurrences


class OccurrenceEnder(PeriodicTask):
    """Publishes `occurrence-ended` of what has ended, of each user in the order of the ends, also after an outage.

    Sleeps until something ends, at most a second. Any number of replicas: each claims other users, by the database's
    clock, so that nothing ends early.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    batch: ClassVar[int] = 20
    """Events, each with as many rows as an event may have."""
    most: ClassVar[int] = 200
    """Occurrences of one pass, and those that end at the same instant as the last of them."""

    def __init__(self, db: Database) -> None:
        super().__init__("end occurrences")
        self.db = db

    async def run_once(self) -> int:
        """Publishes one batch; returns how many events it was about."""
        async with self.db.transaction() as tx:
            due = await endings.claim(tx, self.batch)
            if due:
                rows = await occurrences.all_rows_of(tx, [each.event.id for each in due])
                claimed = [Ending(each.event, rows.get(each.event.id, {}), each.zone) for each in due]
                last = due[-1].event.next_end_at or 0
                # What is not claimed ends later than the last that is.
                ended, until = await self._ended(claimed, last if len(due) == self.batch else due[0].now)
                changed, messages = await _told(claimed, ended, until, due[0].now)
                known = await endings.published(tx, [message.id for message in messages])
                # One that was moved after it had ended ends again, perhaps while its first message waits for Kafka.
                fresh = [message for message in messages if message.id not in known]
                await events.put_events(tx, changed, SideEffects(fresh, None, ""))
        if due:
            outbox.wake()
            return len(due)
        async with self.db.connection() as connection:
            self.wake_in(await endings.seconds_until_due(connection))
        return 0

    async def _ended(self, claimed: Sequence[Ending], until: int) -> tuple[list[Occurrence], int]:
        """What has ended of all events, by end, and until when: sooner than asked where it would be too much."""
        found = await in_slices(each.ended(until) for each in claimed)
        ended = sorted((each for of_event in found for each in of_event), key=_by_end)
        if len(ended) > self.most:
            until = ended[self.most - 1].end
        return [each for each in ended if each.end <= until], until


async def _told(
    claimed: Sequence[Ending], ended: Sequence[Occurrence], until: int, now: int
) -> tuple[list[CalendarEvent], list[Event]]:
    """The events after what has ended of them, and the messages about it."""
    current = {each.event.id: each.event for each in claimed}

    def message(occurrence: Occurrence) -> Event:
        event = current[occurrence.event.id] = next_version(current[occurrence.event.id], now)
        return occurrence_ended(event, occurrence)

    messages = await in_slices(map(message, ended))
    following = await in_slices(each.following(until) for each in claimed)
    told = zip(claimed, following, strict=True)
    return [current[each.event.id]._replace(next_end_at=end) for each, end in told], messages


def _by_end(occurrence: Occurrence) -> tuple[int, str, str]:
    return occurrence.end, occurrence.event.id, occurrence.slot
