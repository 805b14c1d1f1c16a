"""Lists of somebody with very many tasks: a page costs what the first tasks do, whatever its filters leave out."""

from typing import Any

import pytest

from mesh.database.connection import Connection
from mesh.rpc.pagination import Key, Page
from mesh.runtime.ids import new_id
from services.todo import store
from services.todo.model import Filter, Order
from services.todo.store import MOST_LOOKED_AT
from tests.support.plans import plan_of

MANY = 2 * MOST_LOOKED_AT + 100
ALL = Filter(states=(), due_from=None, due_before=None, is_recurring=None, show_deleted=False, order=Order.CREATED_DESC)
_MANY_TASKS = """
    INSERT INTO tasks (user_id, title, status, due_date, created_at, updated_at)
    SELECT %s::uuid, number, CASE WHEN number = ANY(%s) THEN 'in_progress' ELSE 'pending' END, at, at, at
    FROM (SELECT number, timestamptz '2026-01-01Z' + number * interval '1 minute' AS at
        FROM generate_series(1, %s) AS number) AS numbered"""


async def pages(connection: Connection, user_id: str, chosen: Filter, size: int = 50) -> list[list[int]]:
    """The titles of each page."""
    listed: list[list[int]] = []
    after: Key | None = None
    while True:
        tasks, more_after = await store.list_tasks(connection, user_id, chosen, Page(size, after, b""))
        listed.append([int(task.title) for task in tasks[:size]])
        after = store.page_key(chosen.order, tasks[size - 1]) if len(tasks) > size else more_after
        if after is None:
            return listed


@pytest.mark.parametrize("order", Order)
async def test_pages_lead_on_to_every_task_that_a_filter_shows(connection: Connection, order: Order) -> None:
    user, shown = new_id(), [1, 2, MOST_LOOKED_AT, MOST_LOOKED_AT + 1, MOST_LOOKED_AT + 101, MANY]
    await connection.execute(_MANY_TASKS, (user, shown, MANY))

    found = await pages(connection, user, ALL._replace(order=order, states=("in_progress",)))

    is_descending = order in (Order.CREATED_DESC, Order.UPDATED_DESC)
    assert [title for page in found for title in page] == sorted(shown, reverse=is_descending)
    assert len(found) == 3


async def test_a_page_may_be_empty_and_lead_on(connection: Connection) -> None:
    user = new_id()
    await connection.execute(_MANY_TASKS, (user, [1], MANY))
    assert await pages(connection, user, ALL._replace(states=("in_progress",))) == [[], [], [1]]


async def test_the_last_task_that_a_page_looks_at_is_shown_once(connection: Connection) -> None:
    user = new_id()
    await connection.execute(_MANY_TASKS, (user, [1], MOST_LOOKED_AT))
    assert await pages(connection, user, ALL._replace(states=("in_progress",))) == [[1], []]


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("filters", [{}, {"states": ("complete",)}, {"is_recurring": True, "show_deleted": True}])
async def test_a_page_is_read_in_the_order_of_an_index_also_before_there_are_statistics(
    connection: Connection, order: Order, filters: dict[str, Any]
) -> None:
    await connection.execute("SET enable_sort = off")  # as the service does
    chosen = ALL._replace(order=order, **filters)
    plan = await plan_of(connection, lambda found: store.list_tasks(found, new_id(), chosen, Page(50, None, b"")))
    assert "Sort" not in plan
    assert "using idx_tasks_user_" in plan
