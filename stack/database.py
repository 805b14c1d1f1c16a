"""Provisions a database: roles, schemas, grants and migrations of every service that owns tables.

Each schema has two roles: NAME_owner, who owns it and migrates it, and NAME, who runs the service and may read and
write rows there, and nothing else; a second schema of the owner is out of its reach. What a service may not do to its
own tables, its migrations take away.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from mesh.database import migrate
from stack.errors import StackError
from stack.infrastructure import postgres
from stack.keys import Keys
from stack.registry import Service

MAIN = "focusmesh"


@dataclass(frozen=True)
class Cluster:
    """A running Postgres and the passwords of its roles."""

    port: int
    keys: Keys

    def administrator_url(self, database: str = postgres.ADMINISTRATOR) -> str:
        """URL of the superuser, for provisioning and tests only."""
        return self._url(postgres.ADMINISTRATOR, database)

    def owner_url(self, schema: str, database: str = MAIN) -> str:
        """URL of the role that migrates a schema."""
        return self._url(f"{schema}_owner", database)

    def runtime_url(self, schema: str, database: str = MAIN) -> str:
        """URL of the role that a service runs as."""
        return self._url(schema, database)

    def _url(self, role: str, database: str) -> str:
        return postgres.url(self.port, role, self.keys.password(f"postgres-{role}"), database)


def provision(cluster: Cluster, services: Collection[Service], database: str = MAIN) -> None:
    """Brings the services' schemas to their head revisions; does only what is missing. Raises StackError."""
    owners = [service.schema for service in services if service.schema]
    with psycopg.connect(cluster.administrator_url(), autocommit=True) as connection:
        for schema in owners:
            _make_roles(connection, cluster, schema)
        for of_nobody in (postgres.ADMINISTRATOR, "template1"):
            _execute(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", of_nobody)
        _make_database(connection, database)
    with psycopg.connect(cluster.administrator_url(database)) as connection:
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for schema in owners:
            _make_schema(connection, database, schema)
        for service in services:
            if service.cold_schema:
                statement = "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}"
                _execute(connection, statement, service.cold_schema, f"{service.schema}_owner")
        behind = [schema for schema in owners if not _is_migrated(connection, schema)]
    for schema in behind:
        _migrate(cluster, schema, database)


def clone(cluster: Cluster, template: str, database: str) -> None:
    """Creates `database` as a copy of `template`, to which nobody may be connected."""
    with psycopg.connect(cluster.administrator_url(), autocommit=True) as connection:
        _execute(connection, "CREATE DATABASE {} TEMPLATE {} STRATEGY WAL_LOG", database, template)
        _close_to_strangers(connection, database)


def drop(cluster: Cluster, database: str) -> None:
    """Drops a database, and the connections to it."""
    with psycopg.connect(cluster.administrator_url(), autocommit=True) as connection:
        _execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", database)


def _migrate(cluster: Cluster, schema: str, database: str) -> None:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 (slow to import, and needed only when behind)

    try:
        migrate.upgrade(schema, cluster.owner_url(schema, database))
    except SQLAlchemyError as error:
        raise StackError(
            f"the migration of schema {schema} failed: {error}", advice="fix its newest revision"
        ) from error


def _make_roles(connection: psycopg.Connection[Any], cluster: Cluster, schema: str) -> None:
    for role in (schema, f"{schema}_owner"):
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        if not exists:
            password = sql.Literal(cluster.keys.password(f"postgres-{role}"))
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}").format(sql.Identifier(role), password)
            )
        _execute(connection, "ALTER ROLE {} SET search_path = {}", role, schema)


def _make_database(connection: psycopg.Connection[Any], database: str) -> None:
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        _execute(connection, "CREATE DATABASE {} STRATEGY FILE_COPY", database)
    _close_to_strangers(connection, database)


def _close_to_strangers(connection: psycopg.Connection[Any], database: str) -> None:
    """Roles of services get CONNECT one by one; a copy of a database lacks its grants."""
    _execute(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", database)
    roles = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND rolname !~ '^pg_'"
    ).fetchall()
    for (role,) in roles:
        _execute(connection, "GRANT CONNECT ON DATABASE {} TO {}", database, role)


def _make_schema(connection: psycopg.Connection[Any], database: str, schema: str) -> None:
    owner = f"{schema}_owner"
    _execute(connection, "GRANT CONNECT ON DATABASE {} TO {}, {}", database, schema, owner)
    _execute(connection, "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}", schema, owner)
    _execute(connection, "GRANT USAGE ON SCHEMA {} TO {}", schema, schema)
    default = "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT "
    _execute(connection, default + "SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}", owner, schema, schema)
    _execute(connection, default + "USAGE ON SEQUENCES TO {}", owner, schema, schema)


def _is_migrated(connection: psycopg.Connection[Any], schema: str) -> bool:
    """Whether a schema is at its head, and its service may not change what only migrations change."""
    writable = "bool_or(has_table_privilege(%s, to_regclass(format('%%I.%%I', %s::text, name)), 'INSERT'))"
    found = connection.execute(
        f"SELECT to_regclass(%s) IS NOT NULL, {writable} FROM unnest(%s::text[]) AS name",
        [f"{schema}.alembic_version", schema, schema, list(migrate.READ_ONLY)],
    ).fetchone()
    if found != (True, False):
        return False
    row = connection.execute(
        sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(schema, "alembic_version"))
    ).fetchone()
    return row == (migrate.head(schema),)


def _execute(connection: psycopg.Connection[Any], statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
