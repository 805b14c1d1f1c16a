"""What runs every second, and every list, reads by an index however much others have."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mesh.database.pool import Database
from mesh.rpc.pagination import Page
from mesh.runtime.ids import new_id
from services.recurrence.store import plans, schedules, tasks
from tests.support.plans import plan_of

USER, SERIES = new_id(), new_id()
FIRST, NEXT = Page(50, None, b""), Page(50, [0, new_id()], b"")


@pytest.mark.parametrize(
    ("call", "index"),
    [
        (lambda found: tasks.claim_due(found, 200), "task_reminders_due"),
        (tasks.seconds_until_due, "task_reminders_due"),
        (lambda found: tasks.list_waiting(found, USER, FIRST), "task_reminders_user"),
        (lambda found: tasks.list_waiting(found, USER, Page(50, [0, new_id(), ""], b"")), "task_reminders_user"),
        (lambda found: tasks.list_tasks(found, [new_id()], [SERIES]), "open_tasks_series"),
        (lambda found: tasks.find_open(found, SERIES), "open_tasks_series"),
        (lambda found: plans.claim_plans(found, 10, 16), "plans_series"),
        (lambda found: plans.has_plans(found, SERIES), "plans_series"),
        (lambda found: schedules.list_schedules(found, USER, None, FIRST), "recurrence_schedules_user"),
        (lambda found: schedules.list_schedules(found, USER, True, NEXT), "recurrence_schedules_user"),
        (lambda found: schedules.list_completions(found, USER, SERIES, NEXT), "completions_series"),
        (lambda found: schedules.list_counting(found, [new_id()]), "completions_task"),
    ],
)  # fmt: skip
async def test_a_statement_uses_its_index(db: Database, call: Callable[[Any], Awaitable[Any]], index: str) -> None:
    async with db.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        assert index in await plan_of(connection, call)
