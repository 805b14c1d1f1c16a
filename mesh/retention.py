"""RetentionCleaner: removes what mesh remembers for a limited time."""

from typing import ClassVar

from mesh.database.pool import Database
from mesh.rpc import idempotency
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask

INBOX_DAYS = 30
"""Longer than Kafka keeps messages, so that a replayed topic finds every event it delivered before."""


_BATCH = 5000
"""Rows of one statement: however many are due, it ends long before the statement timeout."""


class RetentionCleaner(PeriodicTask):
    """Forgets answers after a day and received events after thirty."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 600.0

    def __init__(self, db: Database) -> None:
        """Looks every ten minutes, and at once again while there is more."""
        super().__init__("retention")
        self.db = db

    async def run_once(self) -> int:
        """Forgets a batch of each."""
        forgotten = await idempotency.forget(self.db, _BATCH)
        async with self.db.connection() as connection:
            cursor = await connection.execute(
                "DELETE FROM inbox WHERE ctid = ANY(ARRAY("
                "SELECT ctid FROM inbox WHERE received_at < now() - make_interval(days => %s) LIMIT %s))",
                (INBOX_DAYS, _BATCH),
            )
        return forgotten + cursor.rowcount
