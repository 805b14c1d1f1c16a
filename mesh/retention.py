"""Retention: removes what mesh remembers for a limited time."""

from typing import ClassVar

from mesh import idempotency
from mesh.db import Database
from mesh.errors import PartUnavailable
from mesh.loops import Loop

INBOX_DAYS = 30
"""Longer than Kafka keeps messages, so that a replayed topic finds every event it delivered before."""


class Retention(Loop):
    """Forgets answers after a day and received events after thirty."""

    expected: ClassVar[tuple[type[Exception], ...]] = (PartUnavailable,)
    longest_wait: ClassVar[float] = 600.0

    def __init__(self, db: Database) -> None:
        """Looks every ten minutes."""
        super().__init__("retention")
        self.db = db

    async def run_once(self) -> int:
        """Forgets; always 0, because one pass removes everything that is due."""
        await idempotency.forget(self.db)
        async with self.db.connection() as connection:
            await connection.execute(
                "DELETE FROM inbox WHERE received_at < now() - make_interval(days => %s)", (INBOX_DAYS,)
            )
        return 0
