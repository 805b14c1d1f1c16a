"""The rows that the benchmark begins with, on todo's tables as they are."""

from collections.abc import Iterator

import psycopg
import pytest

from bench.dataset import USERS, Dataset
from mesh.runtime.ids import new_id
from stack import database


@pytest.fixture
def administrator_url(cluster: database.Cluster) -> Iterator[str]:
    """Leads to a database of the test's own, with the tables of every service."""
    name = f"test_{new_id().replace('-', '')}"
    database.clone(cluster, database.MAIN, name)
    yield cluster.administrator_url(name)
    database.drop(cluster, name)


def test_tasks_of_the_benchmark_fit_into_the_tables(administrator_url: str) -> None:
    user_id, dataset = new_id(), Dataset(administrator_url)
    dataset.seed(user_id, 20 * USERS)
    dataset.close()
    with psycopg.connect(administrator_url) as connection:
        rows = connection.execute(
            "SELECT is_recurring, count(*) FROM todo.tasks WHERE user_id = %s::uuid GROUP BY 1", (user_id,)
        ).fetchall()
        without_series = connection.execute(
            "SELECT count(*) FROM todo.tasks WHERE is_recurring AND series_id IS NULL"
        ).fetchone()
    assert dict(rows) == {False: 18, True: 2}
    assert without_series == (0,)
