"""Tables of its own for each test."""

from collections.abc import AsyncIterator

import pytest

from mesh.database.pool import Database
from tests.support.databases import ServiceUrl, opened


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The schema as the service sees it."""
    async with opened(service_url("recurrence"), "recurrence") as database:
        yield database


@pytest.fixture
async def replicas(service_url: ServiceUrl) -> AsyncIterator[list[Database]]:
    """The same, as three replicas see it."""
    url = service_url("recurrence")
    async with opened(url, "recurrence") as one, opened(url, "recurrence") as two, opened(url, "recurrence") as three:
        yield [one, two, three]
