"""The database: a pool of autocommit connections that notices when Postgres went away and recovers by itself.

One statement needs no transaction: it commits by itself. More than one statement runs in a visible `transaction()`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, cast

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from mesh.database import migrate
from mesh.database.connection import CONNECT_OPTIONS, Connection
from mesh.runtime.errors import DependencyUnavailable, Overloaded

log = logging.getLogger(__name__)

Response = TypeVar("Response")
Row = TypeVar("Row", bound=tuple[Any, ...])

_RACES = 8
"""Lost races after which a decision is given up: eight writers in turn on one row."""
_PROBE_SECONDS = 0.1
_WATCH_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
_CHECKOUT_SECONDS = 2.0


def namedtuple_row(kind: type[Row]) -> Callable[[Any], Callable[[Sequence[Any]], Row]]:
    """Row factory: rows as instances of a NamedTuple, made without a call of Python; `args_row` makes one for each."""
    make = cast(Callable[[Sequence[Any]], Row], partial(tuple.__new__, kind))
    return lambda _cursor: make


class WriteConflict(Exception):  # noqa: N818 (not an error: the decision is made again)
    """Another write came between reading and writing."""


class Database:
    """One service's way to its schema."""

    def __init__(self, url: str, *, revision: str, connections: int = 8, statement_timeout_ms: int = 5000) -> None:
        """url: of the runtime role. revision: the head; behind it nothing is served. connections: of this process."""
        self._url = url
        self._revision = revision
        self._connections = connections
        self._slots = asyncio.Semaphore(connections)
        self._options = f"-c statement_timeout={statement_timeout_ms}"
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._in_use: set[Connection] = set()
        self._recovery: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether a pool stands on a database that answered, migrated to the head revision."""
        return self._pool is not None

    def start(self) -> None:
        """Begins to reach for the database, for as long as it takes; `ready` tells when it answers."""
        self._closed = False
        self._recover()
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="database watch")

    async def close(self) -> None:
        """Gives all connections back; idempotent."""
        self._closed = True
        tasks = [task for task in (self._watching, self._recovery) if task is not None]
        self._watching = self._recovery = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._discard()

    def connection(self) -> "_Checkout":
        """A connection in autocommit: every statement commits by itself. Raises DependencyUnavailable, Overloaded."""
        return _Checkout(self)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction; never hold it over a call to another system."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def retry_on_conflict(self, decide: Callable[[Connection], Awaitable[Response]]) -> Response:
        """Runs read, decide, write again when another write came first (WriteConflict); raises Overloaded after eight.

        Each statement of `decide` commits by itself: the write names the version that was read, and
        raises WriteConflict when that version is gone.
        """
        for _ in range(_RACES):
            try:
                async with self.connection() as connection:
                    return await decide(connection)
            except WriteConflict:
                continue
        raise Overloaded(retry_after=0.1)

    def pool(self) -> AsyncConnectionPool[Connection]:
        """The pool that stands now; raises DependencyUnavailable while the database is away."""
        if self._pool is None:
            raise DependencyUnavailable("database")
        return self._pool

    async def acquire(self, pool: AsyncConnectionPool[Connection]) -> Connection:
        """A connection of the pool, when it is the caller's turn; raises DependencyUnavailable, Overloaded."""
        if self._slots.locked():
            # Callers wait here and not in the pool, where each that waits costs a task and a timer.
            try:
                async with asyncio.timeout(_CHECKOUT_SECONDS):
                    await self._slots.acquire()
            except TimeoutError:
                raise Overloaded(retry_after=0.5) from None
        else:
            await self._slots.acquire()
        try:
            connection = await pool.getconn(_CHECKOUT_SECONDS)
        except BaseException as error:
            self._slots.release()
            if isinstance(error, PoolClosed):
                raise DependencyUnavailable("database") from None
            if isinstance(error, (PoolTimeout, TooManyRequests)):
                raise Overloaded(retry_after=0.5) from None
            raise
        self._in_use.add(connection)
        return connection

    async def release(
        self, pool: AsyncConnectionPool[Connection], connection: Connection, error: BaseException | None
    ) -> None:
        """Ends the caller's turn. error: what its statements ended with."""
        self._in_use.discard(connection)
        broken = connection.broken
        try:
            await pool.putconn(connection)
        finally:
            self._slots.release()
        self.on_error(pool, error, broken=broken)

    def on_error(self, pool: AsyncConnectionPool[Connection], error: BaseException | None, *, broken: bool) -> None:
        """Replaces the pool, once, when a statement ended because the server went away."""
        if isinstance(error, asyncio.CancelledError):
            return  # cancelled twice, psycopg drops the connection; the server is well
        if broken or _went_away(error):
            self._replace(pool, error)

    def _replace(self, pool: AsyncConnectionPool[Connection] | None, error: BaseException | None) -> None:
        if pool is self._pool and not self._closed:
            log.warning("database went away: %s", error or "a connection broke")
            self._recover()

    async def _watch(self) -> None:
        """Asks once a second: an outage must be on_error also by a service that nobody calls."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            pool = self._pool
            try:
                async with self.connection() as connection, asyncio.timeout(_ANSWER_SECONDS):
                    await connection.execute("SELECT 1")
            except TimeoutError:
                self._replace(pool, TimeoutError(f"no answer within {_ANSWER_SECONDS:g} s"))
            except Exception as error:  # noqa: BLE001 (as above; on_error already, or all connections are busy)
                log.debug("database watch: %s", error)

    def _recover(self) -> None:
        stale, self._pool = self._pool, None
        if self._recovery is None or self._recovery.done():
            self._recovery = asyncio.get_running_loop().create_task(self._reconnect(stale), name="database recovery")

    async def _reconnect(self, stale: AsyncConnectionPool[Connection] | None) -> None:
        """Probes until Postgres answers, then opens a fresh pool: the pool's own reconnection waits far too long."""
        if stale is not None:
            await stale.close(timeout=0)
        said = ""
        while not self._closed:
            why = await self._open_pool()
            if not why:
                log.info("database answers")
                return
            if why != said:
                log.warning("database not ready: %s", why)
                said = why
            for connection in list(self._in_use):
                await connection.abort_statement()  # who does not let us in answers nobody
            await asyncio.sleep(_PROBE_SECONDS)

    async def _open_pool(self) -> str:
        """Opens the pool, or tells why the database is not ready."""
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._url,
            connection_class=Connection,
            kwargs={"autocommit": True, "options": self._options, **CONNECT_OPTIONS},
            min_size=self._connections,
            max_size=self._connections,
            max_waiting=1000,
            reconnect_timeout=1,
            open=False,
        )
        try:
            async with await Connection.connect(self._url, **CONNECT_OPTIONS) as probe:
                found = await migrate.revision_of(probe)
            if found < self._revision:
                return f"its schema is at revision {found or 'none'}, behind {self._revision}; run the migrations"
            await pool.open(wait=True, timeout=5)
        except Exception as error:  # noqa: BLE001 (uvloop raises RuntimeError too; who stops trying never recovers)
            await pool.close(timeout=0)
            return f"{type(error).__name__}: {error}"
        except BaseException:
            await pool.close(timeout=0)
            raise
        self._pool = pool
        return ""

    async def _discard(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=2)


class _Checkout:
    """`async with` over one connection; a class, because a generator costs more than the bookkeeping of a statement."""

    __slots__ = ("_connection", "_database", "_pool")

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __aenter__(self) -> Connection:
        self._pool = self._database.pool()
        self._connection = await self._database.acquire(self._pool)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._database.release(self._pool, self._connection, error)


def _went_away(error: BaseException | None) -> bool:
    """Whether the server, and not the statement, is the matter: no SQLSTATE, class 08, 57P (shutdown), or demoted."""
    if isinstance(error, psycopg.OperationalError):
        return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    return isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
