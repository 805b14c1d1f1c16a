"""The periodic tasks of the recurrence service."""

import asyncio
import logging
from typing import ClassVar

from focusmesh.todo.v1.task_instance_service_pb2_grpc import TaskInstanceServiceStub

from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.client import UnexpectedResponse
from mesh.rpc.status import CalleeError
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask, backoff
from mesh.runtime.slices import in_slices
from services.recurrence import events, wire
from services.recurrence.model import Plan, PlanKind
from services.recurrence.rules.schedules import closed, opened
from services.recurrence.store import plans, schedules, tasks

log = logging.getLogger(__name__)

_LEASE_SECONDS = 10.0
"""How long a plan is one replica's; more than a call takes at most, so that no call arrives after the next plan's."""
_CALL_SECONDS = 3.0
_LONGEST_PAUSE_SECONDS = 30.0


class ReminderFirer(PeriodicTask):
    """Fires the reminders that are due; sleeps until the next one, at most a second.

    Any number of replicas: each claims other reminders, by the database's clock, so that none is early.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    batch: ClassVar[int] = 200

    def __init__(self, db: Database) -> None:
        super().__init__("fire reminders")
        self.db = db

    async def run_once(self) -> int:
        """Fires one batch; returns its size."""
        async with self.db.transaction() as tx:
            due = await tasks.claim_due(tx, self.batch)
            if due:
                fired = {event.id: event for event in await in_slices(map(events.reminder_fired, due))}
                # One that moved away and back fires again while its first event still waits for Kafka.
                for event_id in await outbox.waiting(tx, fired):
                    del fired[event_id]
                await tasks.fire(tx, due, SideEffects(list(fired.values()), None, ""))
        if due:
            outbox.wake()
            return len(due)
        async with self.db.connection() as connection:
            self.wake_in(await tasks.seconds_until_due(connection))
        return 0


class InstancePlanner(PeriodicTask):
    """Carries out plans: asks todo for each, of a series one after the other, until it has answered.

    A plan that was carried out and not removed is asked for again, which changes nothing: ids are derived from slots.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    batch: ClassVar[int] = 16
    """Calls at once."""

    def __init__(self, db: Database, todo: TaskInstanceServiceStub) -> None:
        super().__init__("plan instances")
        self.db, self.todo = db, todo

    async def run_once(self) -> int:
        """Carries out one batch; returns how many plans are done, and 0 when todo is away."""
        async with self.db.connection() as connection:
            claimed = await plans.claim_plans(connection, _LEASE_SECONDS, self.batch)
        done = await asyncio.gather(*map(self._carry_out, claimed), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result
        return sum(result is True for result in done)

    async def _carry_out(self, plan: Plan) -> bool:
        try:
            response = await self.todo.ApplyInstance(wire.plan_to_pb(plan), timeout=_CALL_SECONDS)
        except CalleeError as error:
            await self._give_up(plan, error.reason)
            return True
        except (DependencyUnavailable, UnexpectedResponse) as error:
            if isinstance(error, UnexpectedResponse):
                log.error("plan %s of series %s: todo did not understand it", plan.id, plan.series_id, exc_info=error)
            pause = backoff(plan.attempts, most=_LONGEST_PAUSE_SECONDS)
            async with self.db.connection() as connection:
                await plans.postpone_plan(connection, plan, pause)
            return False
        if plan.kind == PlanKind.PUT and response.task.HasField("delete_time"):
            await self._give_up(plan, "its user deleted that instance")
            return True
        async with self.db.connection() as connection:
            await plans.remove_plan(connection, plan)
        return True

    async def _give_up(self, plan: Plan, reason: str) -> None:
        """Drops a plan that todo refuses for good: its task was purged or has left the series.

        What should be withdrawn in its place stays, and is open then; without it the series ends.
        """
        log.warning("plan %s %s of series %s is dropped: %s", plan.kind, plan.slot, plan.series_id, reason)
        async with self.db.transaction() as tx:
            if plan.kind in (PlanKind.PUT, PlanKind.REOPEN):
                await plans.remove_withdrawals(tx, plan)
                for schedule in await schedules.lock_schedules(tx, [plan.series_id, plan.target_id]):
                    task, now = await tasks.find_open(tx, schedule.id), schedule.updated_at
                    left = closed(schedule, now) if task is None else opened(schedule, task, now)
                    await schedules.put_schedules(tx, [left])
            await plans.remove_plan(tx, plan)
