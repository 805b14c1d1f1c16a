"""Periodic tasks of the history service."""

from typing import ClassVar

from mesh.database.pool import Database
from mesh.runtime.clock import Clock
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from services.history.rules import windows
from services.history.store import partitions, recordings


class PartitionKeeper(PeriodicTask):
    """Makes partitions of the archive ahead, and puts months into cold storage after the retention, one in a pass."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 600.0

    def __init__(self, db: Database, clock: Clock, *, months_ahead: int, retention_days: int) -> None:
        super().__init__("keep partitions")
        self.db, self.clock, self.months_ahead, self.retention_days = db, clock, months_ahead, retention_days

    async def run_once(self) -> int:
        """Makes what is missing, freezes a month; returns how many partitions."""
        now = self.clock()
        months = [windows.months_ahead(now, count) for count in range(self.months_ahead + 1)]
        async with self.db.connection() as connection:
            made = await partitions.make(connection, months)
            return made + await partitions.freeze(connection, windows.hot_from(now, self.retention_days))


class SessionPurger(PeriodicTask):
    """Removes deleted sessions whose 30 days for an undelete are over."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 60.0
    batch: ClassVar[int] = 200

    def __init__(self, db: Database) -> None:
        super().__init__("purge sessions")
        self.db = db

    async def run_once(self) -> int:
        """Removes one batch; returns its size."""
        async with self.db.connection() as connection:
            return await recordings.purge(connection, self.batch)
