"""The periodic tasks of the todo service."""

import logging
from collections.abc import Awaitable, Callable

from mesh.database.pool import Database, WriteConflict
from mesh.events.outbox import SideEffects
from mesh.rpc.etag import next_version
from mesh.runtime.clock import Clock
from mesh.runtime.errors import DependencyUnavailable, ServiceError
from mesh.runtime.lifecycle import PeriodicTask
from services.todo import events, store
from services.todo.model import Task
from services.todo.rules import series

log = logging.getLogger(__name__)

_BATCH = 500
_STARTS = 20
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


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


class SeriesStarter(PeriodicTask):
    """Gives series to recurring tasks that were made before tasks had them, in the time zones of their users."""

    expected = (DependencyUnavailable,)
    longest_wait = 60.0

    def __init__(self, db: Database, zone_of: Callable[[str], Awaitable[str]], clock: Clock) -> None:
        """Runs once a minute, and again at once while there are more. zone_of: the time zone of a user."""
        super().__init__("start series")
        self.db, self.zone_of, self.clock = db, zone_of, clock
        self._after = _FIRST_ID

    async def run_once(self) -> int:
        """Looks at the next batch, and after the last at the first again; returns its size."""
        async with self.db.connection() as connection:
            tasks = await store.list_without_series(connection, self._after, _STARTS)
        for task in tasks:
            await self._start(task)
        self._after = tasks[-1].id if tasks else _FIRST_ID
        return len(tasks)

    async def _start(self, task: Task) -> None:
        now = self.clock()
        try:
            placed = task._replace(time_zone=await self.zone_of(task.user_id))
            started = next_version(series.begin(placed, task.id, now), now)
            async with self.db.connection() as connection:
                await store.save_task(connection, started, SideEffects([events.task_updated(started)], None, ""))
        except DependencyUnavailable:
            raise
        except (ServiceError, WriteConflict) as error:
            log.warning("task %s recurs without a series: %r", task.id, error)
