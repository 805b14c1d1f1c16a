"""Deletes stored responses and inbox rows that have expired."""

from typing import ClassVar

from mesh.database.pool import Database
from mesh.rpc import idempotency
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask

INBOX_DAYS = 30
"""Longer than Kafka keeps messages, so that every event of a replayed topic is recognized."""
_BATCH = 5000
"""Rows per statement: few enough to end long before the statement timeout."""


class RetentionCleaner(PeriodicTask):
    """Deletes stored responses after a day and inbox rows after thirty."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 600.0

    def __init__(self, db: Database) -> None:
        """Runs every ten minutes, and again at once while a batch was full."""
        super().__init__("retention")
        self.db = db

    async def run_once(self) -> int:
        """Deletes a batch of each; returns how many rows."""
        responses = await idempotency.delete_old(self.db, _BATCH)
        async with self.db.connection() as connection:
            cursor = await connection.execute(
                "DELETE FROM inbox WHERE ctid = ANY(ARRAY("
                "SELECT ctid FROM inbox WHERE received_at < now() - make_interval(days => %s) LIMIT %s))",
                (INBOX_DAYS, _BATCH),
            )
        return responses + cursor.rowcount
