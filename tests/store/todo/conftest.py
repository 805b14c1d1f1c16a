"""Tables of its own for each test."""

from collections.abc import AsyncIterator

import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from tests.support.databases import ServiceUrl, opened


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The schema as the service sees it."""
    async with opened(service_url("todo"), "todo") as database:
        yield database


@pytest.fixture
async def connection(db: Database) -> AsyncIterator[Connection]:
    """A connection to it."""
    async with db.connection() as connection:
        yield connection
