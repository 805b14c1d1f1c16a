"""The database: a pool of autocommit connections that detects an outage of Postgres and recovers by itself.

One statement needs no transaction: it commits by itself. More than one statement runs in a visible `transaction()`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import ClassVar, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from mesh.database import migrate
from mesh.database.connection import CONNECT_OPTIONS, Connection, abort, statement_deadline
from mesh.runtime.errors import DependencyUnavailable, Overloaded
from mesh.runtime.lifecycle import SupervisedTask, occurs

log = logging.getLogger(__name__)

Response = TypeVar("Response")

_MOST_CONFLICTS = 8
"""Write conflicts after which a decision fails with Overloaded: eight other writers on one row."""
_WATCH_SECONDS = 1.0
_RESPONSE_SECONDS = 2.0
_CHECKOUT_SECONDS = 2.0


class WriteConflict(Exception):  # noqa: N818 (not an error: the decision is retried)
    """Another write came between reading and writing."""


class NotReady(Exception):  # noqa: N818 (a state, not an error: it ends by itself)
    """The database cannot be used now, and why."""


class SchemaBehind(NotReady):
    """The migrations have not been run."""


class Database(SupervisedTask):
    """A pool on one service's schema; a new one after every outage.

    psycopg's reconnection waits far too long, so a pool whose server went away is replaced.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (NotReady,)
    longest_backoff: ClassVar[float] = 0.1

    def __init__(
        self,
        url: str,
        *,
        revision: str,
        connections: int = 8,
        statement_timeout_ms: int = 5000,
        reads_only: bool = False,
        sorts: bool = True,
    ) -> None:
        """url: of the runtime role. revision: the oldest schema revision to serve. connections: of this process.
        reads_only: the server may be a standby. sorts: whether statements may sort where an index has the order."""
        super().__init__("database")
        self._url = url
        self._revision = revision
        self._connections = connections
        self._slots = asyncio.Semaphore(connections)
        self._options = f"-c statement_timeout={statement_timeout_ms}" + ("" if sorts else " -c enable_sort=off")
        self._connect_options = CONNECT_OPTIONS | ({"target_session_attrs": "any"} if reads_only else {})
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._in_use: set[Connection] = set()
        self._lost = asyncio.Event()
        self._cause: BaseException | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a pool on a database that responds, migrated to the revision."""
        return self._pool is not None

    async def run(self) -> None:
        """Opens a pool and watches it until the database goes away."""
        try:
            pool = await self._open_pool()
        except NotReady:
            for connection in self._in_use:  # Postgres refuses connections, so statements in flight will not return
                abort(connection)
            raise
        self._pool = pool
        self._lost.clear()
        self.succeeded()
        while not await occurs(self._lost, within=_WATCH_SECONDS):
            await self._probe()
        await pool.close(timeout=0)
        raise NotReady(f"the database went away: {self._cause or 'a connection broke'}")

    async def close(self, grace: float = 0.0) -> None:
        """Closes all connections."""
        await super().close(grace)
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=2)

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

        Each statement of `decide` commits by itself: the write names the version that was read, and raises
        WriteConflict when the row has another one.
        """
        for _ in range(_MOST_CONFLICTS):
            try:
                async with self.connection() as connection:
                    return await decide(connection)
            except WriteConflict:
                continue
        raise Overloaded(retry_after=0.1)

    def pool(self) -> AsyncConnectionPool[Connection]:
        """The current pool; raises DependencyUnavailable while the database is unreachable."""
        if self._pool is None:
            raise DependencyUnavailable("database")
        return self._pool

    async def acquire(self, pool: AsyncConnectionPool[Connection]) -> Connection:
        """A connection of the pool, once one is free; raises DependencyUnavailable, Overloaded."""
        if self._slots.locked():
            # Callers wait here and not in the pool, where each waiting caller costs a task and a timer.
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
        """Returns a connection to the pool. error: the exception that ended its use, if any."""
        self._in_use.discard(connection)
        broken = connection.broken
        try:
            await pool.putconn(connection)
        finally:
            self._slots.release()
        self.on_error(pool, error, broken=broken)

    def on_error(self, pool: AsyncConnectionPool[Connection], error: BaseException | None, *, broken: bool) -> None:
        """Drops the pool when a statement failed because the server went away."""
        if isinstance(error, asyncio.CancelledError):
            return  # psycopg drops the connection of a statement cancelled twice; the server is healthy
        if pool is self._pool and (broken or _went_away(error)):
            self._pool, self._cause = None, error
            self._lost.set()

    async def _probe(self) -> None:
        """Runs a statement, so that an idle service detects an outage too."""
        try:
            async with self.connection() as connection:
                with statement_deadline(connection, _RESPONSE_SECONDS):
                    await connection.execute("SELECT 1")
        except Exception as error:  # noqa: BLE001 (`on_error` has seen it, or all connections are busy)
            log.debug("database probe: %s", error)

    async def _open_pool(self) -> AsyncConnectionPool[Connection]:
        """A pool whose connections are open; raises NotReady."""
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._url,
            connection_class=psycopg.AsyncConnection,
            kwargs={"autocommit": True, "options": self._options, **self._connect_options},
            min_size=self._connections,
            max_size=self._connections,
            max_waiting=1000,
            reconnect_timeout=1,
            open=False,
        )
        try:
            await self._check_schema()
            await pool.open(wait=True, timeout=5)
        except BaseException as error:
            await pool.close(timeout=0)
            if isinstance(error, NotReady) or not isinstance(error, Exception):
                raise
            raise NotReady(f"{type(error).__name__}: {error}") from error
        return pool

    async def _check_schema(self) -> None:
        async with await Connection.connect(self._url, **self._connect_options) as connection:
            found = await migrate.revision_of(connection)
        if found < self._revision:
            raise SchemaBehind(f"revision {found or 'none'} is behind {self._revision}; run the migrations")


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
    """Whether the server failed and not the statement: no SQLSTATE, class 08, 57P (shutdown), or a demoted primary."""
    if isinstance(error, psycopg.OperationalError):
        return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    return isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
