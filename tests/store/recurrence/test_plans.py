"""Plans in the tables: in order within a series, and each with one replica at a time."""

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.recurrence.model import Plan, PlanKind
from services.recurrence.store import plans, schedules
from tests.support.recurrence_events import a_series_event, follow, instance_id, recurring


def a_plan(series_id: str, kind: PlanKind = PlanKind.PUT, slot: str = "2030-01-01") -> Plan:
    """A plan of some user."""
    return Plan(new_id(), new_id(), series_id, series_id, kind, slot, new_id(), {"due_time": None})


async def test_of_a_series_only_the_first_plan_is_taken_and_by_one_replica(db: Database) -> None:
    one, other = new_id(), new_id()
    made = [a_plan(one), a_plan(one, PlanKind.WITHDRAW), a_plan(other)]
    async with db.transaction() as tx:
        await plans.add_plans(tx, made)
    async with db.connection() as connection:
        taken = await plans.claim_plans(connection, 10, 16)
        assert {plan.id for plan in taken} == {made[0].id, made[2].id}
        assert await plans.claim_plans(connection, 10, 16) == []
        await plans.remove_plan(connection, made[0])
        assert [plan.id for plan in await plans.claim_plans(connection, 10, 16)] == [made[1].id]
        await plans.postpone_plan(connection, made[1], 0)
        [again] = await plans.claim_plans(connection, 10, 16)
        assert (again.id, again.attempts) == (made[1].id, 2)


async def test_a_plan_whose_replica_died_is_taken_again_when_its_lease_is_over(db: Database) -> None:
    async with db.transaction() as tx:
        await plans.add_plans(tx, [a_plan(new_id())])
    async with db.connection() as connection:
        assert len(await plans.claim_plans(connection, -1, 16)) == 1
        assert len(await plans.claim_plans(connection, 10, 16)) == 1


async def test_a_completion_and_the_plan_of_the_next_instance_commit_together_once(db: Database) -> None:
    user, series = new_id(), new_id()
    whole = recurring(series, "2030-01-01T09:00:00")
    created = a_series_event(user, series, **whole)
    completed = a_series_event(user, series, version=2, kind="task-completed", **whole)
    await follow(db, created, completed)
    await follow(db, created, completed)  # delivered again
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT kind, slot FROM plans")
        assert await cursor.fetchall() == [("put", "2030-01-02T09:00:00")]
        cursor = await connection.execute("SELECT slot, next_slot FROM completions")
        assert await cursor.fetchall() == [("2030-01-01T09:00:00", "2030-01-02T09:00:00")]


async def test_a_log_keeps_its_newest_entries(db: Database) -> None:
    user, series = new_id(), new_id()
    slots = [f"2030-01-{day:02}T09:00:00" for day in range(1, 9)]
    for index, slot in enumerate(slots):
        task = series if index == 0 else instance_id(series, slot)
        whole = recurring(series, slot, completed_at=f"{slot}Z")
        await follow(db, a_series_event(user, task, **whole))
        await follow(db, a_series_event(user, task, version=2, kind="task-completed", **whole))
    kept, schedules.KEPT_COMPLETIONS = schedules.KEPT_COMPLETIONS, 3
    try:
        async with db.transaction() as tx:
            await schedules.trim_completions(tx, [series])
    finally:
        schedules.KEPT_COMPLETIONS = kept
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT slot FROM completions ORDER BY slot")
        assert [slot for (slot,) in await cursor.fetchall()] == slots[-3:]
