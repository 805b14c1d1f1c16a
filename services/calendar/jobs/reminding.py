"""Fires the reminders of events."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import ClassVar, NamedTuple

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.recurrence.offsets import parse_offset
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.slices import in_slices
from services.calendar import events as messages
from services.calendar.model import CalendarEvent, DueReminder, OccurrenceRow, Status
from services.calendar.rules import reminders as rules
from services.calendar.rules import series
from services.calendar.store import events, occurrences, reminders, users


class ReminderFirer(PeriodicTask):
    """Fires the reminders that are due and writes what follows on each; sleeps until the next one, at most a second.

    Any number of replicas: each claims other reminders, by the database's clock, so that none is early.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    batch: ClassVar[int] = 50
    """Of as many events, with up to 1,000 rows each."""

    def __init__(self, db: Database) -> None:
        super().__init__("fire reminders")
        self.db = db

    async def run_once(self) -> int:
        """Fires one batch; returns its size."""
        async with self.db.transaction() as tx:
            due, now = await reminders.claim_due(tx, self.batch)
            if due:
                await self._fire(tx, due, now)
        if due:
            outbox.wake()
            return len(due)
        async with self.db.connection() as connection:
            self.wake_in(await reminders.seconds_until_due(connection))
        return 0

    async def _fire(self, tx: Connection, due: Sequence[DueReminder], now: int) -> None:
        ids = {each.event_id for each in due}
        found, rows = await events.find_events(tx, ids), await occurrences.bare_rows(tx, ids)
        # The texts of what is reminded of alone: all of them may be 500 MB.
        said_of = [(each.event_id, each.slot) for each in due if each.slot is not None]
        for (event_id, slot), row in (await occurrences.rows_at(tx, said_of)).items():
            rows.setdefault(event_id, {})[slot] = row
        zones = await users.zones_of(tx, {each.user_id for each in due})
        fired = await in_slices(_fired(due, found, rows, zones, now))
        said = {event.id: event for each in fired for event in each.said}
        # One that moved away and back fires again while its first event still waits for Kafka.
        for event_id in await outbox.waiting(tx, said):
            del said[event_id]
        following = [after for each in fired for after in each.following]
        await reminders.fire(tx, due, following, SideEffects(list(said.values()), None, ""))


class _Fired(NamedTuple):
    """What comes of the due reminders of one event."""

    said: Sequence[Event]
    following: Sequence[DueReminder]


def _fired(
    due: Sequence[DueReminder],
    found: Mapping[str, CalendarEvent],
    rows: Mapping[str, Mapping[str, OccurrenceRow]],
    zones: Mapping[str, str],
    now: int,
) -> Iterator[_Fired]:
    """One event after the other, which are computed while this is iterated over."""
    of_event = attrgetter("event_id")
    for event_id, some in groupby(sorted(due, key=of_event), of_event):
        event, claimed = found[event_id], list(some)
        zone, own = zones.get(event.user_id, "UTC"), rows.get(event_id, {})
        said = (_said(event, own, zone, each, now) for each in claimed)
        since = {each.reminder: rules.after(each) for each in claimed}
        yield _Fired([each for each in said if each is not None], rules.following(event, own, zone, since))


def _said(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str, due: DueReminder, now: int
) -> Event | None:
    """The message of a reminder that is due; None when it moves with its user, who is elsewhere now."""
    if due.slot is None:
        return messages.reminder_fired(event, None, due, now)
    occurrence = series.occurrence(event, due.slot, rows.get(due.slot), zone)
    if occurrence is None or occurrence.status != Status.PLANNED:
        return None
    instant = rules.instant_of(occurrence, parse_offset(rules.named(due.reminder)[0]), zone)
    return messages.reminder_fired(event, occurrence, due, now) if instant == due.remind_at else None
