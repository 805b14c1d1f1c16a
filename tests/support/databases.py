"""A service's tables, as its role sees them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh.database.migrate import head
from mesh.database.pool import Database
from tests.support.waiting import until


@asynccontextmanager
async def opened(url: str, schema: str, *, connections: int = 8) -> AsyncIterator[Database]:
    """A database that answers."""
    database = Database(url, revision=head(schema), connections=connections)
    database.start()
    await until(lambda: database.ready, "the database answers")
    yield database
    await database.close()
