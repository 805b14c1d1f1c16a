"""A service's tables, as its role sees them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from harness.waiting import until
from mesh.database.migrate import head
from mesh.database.pool import Database

ServiceUrl = Callable[[str], str]
"""From the name of a service to the connection string of its runtime role."""


def opened(url: str, schema: str, *, connections: int = 8) -> AbstractAsyncContextManager[Database]:
    """A database at the newest revision of a service, once it responds."""
    return opened_at(url, head(schema), connections=connections)


@asynccontextmanager
async def opened_at(url: str, revision: str, *, connections: int = 8) -> AsyncIterator[Database]:
    """A database at this revision, once it responds."""
    database = Database(url, revision=revision, connections=connections)
    database.start()
    await until(lambda: database.ready, "the database responds")
    yield database
    await database.close()
