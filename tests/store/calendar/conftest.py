"""Tables of its own for each test."""

from collections.abc import AsyncIterator

import pytest

from mesh.database.pool import Database
from tests.support.databases import ServiceUrl, opened


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The schema as the service sees it."""
    async with opened(service_url("calendar"), "calendar") as database:
        yield database


@pytest.fixture
async def replicas(service_url: ServiceUrl) -> AsyncIterator[list[Database]]:
    """The same, as three replicas see it."""
    url = service_url("calendar")
    async with opened(url, "calendar") as one, opened(url, "calendar") as two, opened(url, "calendar") as three:
        yield [one, two, three]
