"""The loops of the todo service."""

from mesh.database.pool import Database
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from services.todo import store

_BATCH = 500


class TaskPurger(PeriodicTask):
    """Removes deleted tasks once they can no longer be undeleted; their last event said so 30 days ago."""

    expected = (DependencyUnavailable,)
    longest_wait = 60.0

    def __init__(self, db: Database) -> None:
        """Looks once a minute, and at once again while there is more."""
        super().__init__("purge tasks")
        self.db = db

    async def run_once(self) -> int:
        """Removes a batch."""
        async with self.db.connection() as connection:
            return await store.purge_tasks(connection, _BATCH)
