"""A log of its own for each test."""

from collections.abc import AsyncIterator

import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from services.audit.model import PendingRecord, Record
from tests.support.audit_records import Recorder, record_all
from tests.support.databases import ServiceUrl, opened


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The schema as the service sees it."""
    async with opened(service_url("audit"), "audit") as database:
        yield database


@pytest.fixture
async def connection(db: Database) -> AsyncIterator[Connection]:
    async with db.connection() as connection:
        yield connection


@pytest.fixture
def record(db: Database) -> Recorder:
    """Records entries of one user."""

    async def build(*entries: PendingRecord, now: int = 1) -> list[Record]:
        return await record_all(db, entries, now=now)

    return build
