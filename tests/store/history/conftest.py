"""Databases of the history service."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from stack import database
from tests.support.databases import opened


@pytest.fixture
def history_urls(cluster: database.Cluster) -> Iterator[list[str]]:
    """Two empty databases of the test's own, whose tables it may change."""
    names = [f"test_{new_id().replace('-', '')}" for _ in range(2)]
    for name in names:
        database.clone(cluster, database.MAIN, name)
    yield [cluster.runtime_url("history", name) for name in names]
    for name in names:
        database.drop(cluster, name)


@pytest.fixture
async def databases(history_urls: list[str]) -> AsyncIterator[list[Database]]:
    """The same, open."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened(url, "history")) for url in history_urls]
