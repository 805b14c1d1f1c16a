"""Plans: what todo is asked to do, and the erasure of users."""

from collections.abc import Sequence

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.database.erasure import erase_of
from services.recurrence.model import Plan

PLANS = Columns(
    "plans",
    Plan,
    {
        "id": "uuid",
        "user_id": "uuid",
        "series_id": "uuid",
        "target_id": "uuid",
        "kind": "text",
        "slot": "text",
        "task_id": "uuid",
        "changes": "jsonb",
        "source_id": "uuid",
        "attempts": "integer",
    },
)
erase = erase_of("plans", "completions", "recurrence_schedules", "open_tasks")
"""The row of the user stays, and says that the account was deleted."""


async def add_plans(tx: Connection, plans: Sequence[Plan]) -> None:
    """Appends plans, in order."""
    for plan in plans:  # one after the other, because their numbers are their order
        await tx.execute(f"INSERT INTO plans ({PLANS.names}) VALUES ({PLANS.values})", PLANS.parameters(plan))


_CLAIM = f"""
    UPDATE plans SET due_at = now() + make_interval(secs => %(lease)s), attempts = attempts + 1
    WHERE seq = ANY(ARRAY(
        SELECT seq FROM plans AS first
        WHERE due_at <= now()
            AND NOT EXISTS (
                SELECT FROM plans AS earlier WHERE earlier.series_id = first.series_id AND earlier.seq < first.seq)
        ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING {PLANS.select}"""


async def claim_plans(connection: Connection, lease: float, limit: int) -> list[Plan]:
    """Takes the first due plan of each of some series, for so many seconds."""
    cursor = PLANS.cursor(connection)
    await cursor.execute(_CLAIM, {"lease": lease, "limit": limit})
    return await cursor.fetchall()


async def remove_plan(connection: Connection, plan: Plan) -> None:
    """Removes a plan that was carried out, or never can be."""
    await connection.execute("DELETE FROM plans WHERE id = %s::uuid AND user_id = %s::uuid", (plan.id, plan.user_id))


async def remove_withdrawals(tx: Connection, plan: Plan) -> None:
    """Removes the plans after one that would withdraw what it should have taken the place of."""
    await tx.execute(
        """
        DELETE FROM plans WHERE series_id = %s::uuid AND user_id = %s::uuid AND kind = 'withdraw'
            AND seq > (SELECT seq FROM plans AS refused WHERE refused.id = %s::uuid)""",
        (plan.series_id, plan.user_id, plan.id),
    )


async def postpone_plan(connection: Connection, plan: Plan, seconds: float) -> None:
    """Tries a plan again after so many seconds."""
    await connection.execute(
        "UPDATE plans SET due_at = now() + make_interval(secs => %s) WHERE id = %s::uuid AND user_id = %s::uuid",
        (seconds, plan.id, plan.user_id),
    )


async def has_plans(tx: Connection, series_id: str) -> bool:
    """Whether todo has yet to do something about a series."""
    cursor = await tx.execute("SELECT FROM plans WHERE series_id = %s::uuid LIMIT 1", (series_id,))
    return await cursor.fetchone() is not None
