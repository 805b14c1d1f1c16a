"""Removes what was deleted long ago."""

from typing import ClassVar

from mesh.database.pool import Database
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from services.calendar.store import events


class EventPurger(PeriodicTask):
    """Removes deleted events whose 30 days for an undelete are over; publishes nothing: `event-deleted` was."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 60.0
    batch: ClassVar[int] = 50
    """Events, each with as many rows as an event may have."""

    def __init__(self, db: Database) -> None:
        """Runs once a minute, and again at once while a batch was full."""
        super().__init__("purge events")
        self.db = db

    async def run_once(self) -> int:
        """Removes one batch; returns its size."""
        async with self.db.connection() as connection:
            return await events.purge_events(connection, self.batch)
