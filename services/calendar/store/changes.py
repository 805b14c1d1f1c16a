"""Changes of events: locked, decided, and written with their rows, reminders and messages."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.errors import TokenRevoked
from services.calendar.model import CalendarEvent, Change, OccurrenceRow
from services.calendar.store import events, occurrences, reminders, users
from services.calendar.store.users import UserZones

_PORTION = 500
"""Rows that are written at once: some milliseconds of the event loop."""


class Locked(NamedTuple):
    """An event that nobody else changes until the transaction ends."""

    tx: Connection
    event: CalendarEvent
    rows: dict[str, OccurrenceRow]
    """All, by slot."""
    zone: str
    """Of its user, who stays there until the transaction ends."""


class Calendars:
    """The calendars of users, to be changed."""

    def __init__(self, db: Database, zones: UserZones) -> None:
        self._db, self.zones = db, zones

    @asynccontextmanager
    async def user(self, user_id: str, *, alone: bool = False) -> AsyncIterator[tuple[Connection, str]]:
        """A transaction in which a user stays where they are, and their zone; wakes the relay after it.

        alone: nobody else creates events of the user meanwhile. Raises TokenRevoked when the account is closed, and
        DependencyUnavailable.
        """
        await self.zones.of(user_id)
        async with self._db.transaction() as tx:
            zone = await users.lock_zone(tx, user_id, alone=alone)
            if zone is None:
                raise TokenRevoked
            yield tx, zone
        outbox.wake()

    @asynccontextmanager
    async def event(self, user_id: str, event_id: str, *, alone: bool = False) -> AsyncIterator[Locked]:
        """The same with an event of the user. Raises EventNotFound too."""
        async with self.user(user_id, alone=alone) as (tx, zone):
            event = await events.lock_event(tx, user_id, event_id)
            rows = await occurrences.all_rows(tx, event.id)
            await asyncio.sleep(0)  # 1,000 rows take some milliseconds here, and some 20 for each of what follows
            yield Locked(tx, event, rows, zone)


async def save(tx: Connection, changes: Sequence[Change], side_effects: SideEffects) -> None:
    """Writes events, new ones or locked ones, with what differs of their rows, and with the messages about them.

    Their reminders follow; a new event takes over what is due of the one that it was split off from. When nothing
    changed only the response is stored, for a retry.
    """
    if all(change.event is change.before for change in changes):
        await outbox.store_response(tx, side_effects)
        return
    await asyncio.sleep(0)
    await events.put_events(tx, [change.event for change in changes], side_effects)
    for change in changes:
        if gone := change.rows_before.keys() - change.rows.keys():
            await occurrences.delete_rows(tx, change.event.id, gone)
    put = [row for change in changes for slot, row in change.rows.items() if change.rows_before.get(slot) != row]
    for first in range(0, len(put), _PORTION):
        await occurrences.put_rows(tx, put[first : first + _PORTION])
    await reminders.recompute(tx, changes)
