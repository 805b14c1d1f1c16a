"""The periodic tasks of the todo service."""

from mesh.database.pool import Database
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from services.todo import store

_BATCH = 500


class TaskPurger(PeriodicTask):
    """Removes deleted tasks whose 30 days for an undelete are over; publishes nothing: `task-deleted` was."""

    expected = (DependencyUnavailable,)
    longest_wait = 60.0

    def __init__(self, db: Database) -> None:
        """Runs once a minute, and again at once while a batch was full."""
        super().__init__("purge tasks")
        self.db = db

    async def run_once(self) -> int:
        """Removes one batch; returns its size."""
        async with self.db.connection() as connection:
            return await store.purge_tasks(connection, _BATCH)
