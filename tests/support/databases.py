"""Databases for tests: copies of the migrated one, and a service's tables as its role sees them."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import psycopg

from harness.waiting import until
from mesh.database.migrate import head
from mesh.database.pool import Database
from stack import database

ServiceUrl = Callable[[str], str]
"""From the name of a service to the connection string of its runtime role."""

_END_SESSIONS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_EMPTY = """
    DO $$
    DECLARE
        name text;
        filled boolean;
        names text[] := '{}';
    BEGIN
        FOR name IN
            SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
            WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
                AND tablename NOT IN ('alembic_version', 'database_epoch')
        LOOP
            EXECUTE 'SELECT EXISTS (SELECT FROM ' || name || ')' INTO filled;
            IF filled THEN
                names := names || name;
            END IF;
        END LOOP;
        IF names <> '{}' THEN
            -- Nothing keeps a table from being emptied but a trigger that is to fire always.
            SET LOCAL session_replication_role = replica;
            ALTER TABLE audit.audit_records DISABLE TRIGGER append_only;
            EXECUTE 'TRUNCATE ' || array_to_string(names, ', ') || ' RESTART IDENTITY CASCADE';
            ALTER TABLE audit.audit_records ENABLE ALWAYS TRIGGER append_only;
        END IF;
    END $$"""


class Copies:
    """Copies of the migrated database, emptied and used again: to make one takes some tenths of a second."""

    def __init__(self, cluster: database.Cluster) -> None:
        self._cluster = cluster
        self._free: list[str] = []

    @contextmanager
    def borrowed(self) -> Iterator[str]:
        """The name of an empty copy that nobody else uses; its tables and rights are to be left as they were."""
        if not self._free:
            self._free.append(f"test_{os.urandom(6).hex()}")
            database.clone(self._cluster, database.MAIN, self._free[0])
        name = self._free.pop()
        yield name
        with psycopg.connect(self._cluster.administrator_url(name), autocommit=True) as connection:
            connection.execute(_END_SESSIONS)
            connection.execute(_EMPTY)
        self._free.append(name)


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


async def lock_waits(db: Database) -> int:
    """How many statements of the database wait for a lock."""
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.rowcount
