"""Migrations: one upgrade at a time, never waiting long for a lock, by the owner and by nobody else."""

import asyncio
import os
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from harness.waiting import until
from mesh.database import migrate
from stack import database, registry
from stack.database import Cluster

TABLES = {
    "alembic_version",
    "aggregate_versions",
    "database_epoch",
    "focus_sessions",
    "idempotency",
    "inbox",
    "outbox",
    "parked",
    "tasks",
}


@pytest.fixture
def new_database(cluster: Cluster) -> Iterator[str]:
    """A database with the schema and the roles of todo, and no table."""
    name = f"test_{os.urandom(6).hex()}"
    database.provision(cluster, [], name)
    with psycopg.connect(cluster.administrator_url(name)) as connection:
        connection.execute("CREATE SCHEMA todo AUTHORIZATION todo_owner")
        connection.execute("GRANT USAGE ON SCHEMA todo TO todo")
    yield name
    database.drop(cluster, name)


@pytest.fixture
def owner_url(cluster: Cluster, new_database: str) -> str:
    return cluster.owner_url("todo", new_database)


def tables(cluster: Cluster, name: str) -> set[str]:
    with psycopg.connect(cluster.administrator_url(name)) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'todo'")
        return {table for (table,) in rows}


def waiting(cluster: Cluster, kind: str) -> int:
    """How many sessions wait for this kind of lock."""
    with psycopg.connect(cluster.administrator_url()) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = %s", (kind,)
        ).fetchone()
    return int(found[0]) if found else 0


def test_an_upgrade_brings_a_schema_to_its_head_and_a_second_one_changes_nothing(
    cluster: Cluster, new_database: str, owner_url: str
) -> None:
    migrate.upgrade("todo", owner_url)
    assert tables(cluster, new_database) == TABLES
    migrate.upgrade("todo", owner_url)
    with psycopg.connect(owner_url) as owner:
        assert owner.execute("SELECT version_num FROM alembic_version").fetchall() == [(migrate.head("todo"),)]


async def test_upgrades_that_start_together_take_turns(cluster: Cluster, new_database: str, owner_url: str) -> None:
    with psycopg.connect(owner_url) as first:
        first.execute("SELECT pg_advisory_lock(hashtext('focusmesh.migrate.todo'))")
        upgrade = asyncio.create_task(asyncio.to_thread(migrate.upgrade, "todo", owner_url))
        await until(lambda: waiting(cluster, "advisory") == 1, "the second waits")
        assert tables(cluster, new_database) == set()
    await upgrade
    assert tables(cluster, new_database) == TABLES


def test_an_upgrade_that_does_not_get_a_lock_gives_up_and_changes_nothing(
    cluster: Cluster, new_database: str, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_SECONDS", 0.2)
    with psycopg.connect(owner_url) as busy:
        busy.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        busy.commit()
        busy.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate.upgrade("todo", owner_url)
    assert tables(cluster, new_database) == {"alembic_version"}
    migrate.upgrade("todo", owner_url)
    assert tables(cluster, new_database) == TABLES


def test_the_role_that_serves_cannot_migrate(cluster: Cluster, new_database: str, owner_url: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        migrate.upgrade("todo", cluster.runtime_url("todo", new_database))
    assert tables(cluster, new_database) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE tasks ADD COLUMN x int",
        "DROP TABLE tasks",
        "TRUNCATE tasks",
        "CREATE TABLE x (y int)",
        "SELECT FROM auth.users",
        "SELECT FROM audit.audit_records",
        "SET ROLE todo_owner",
        "UPDATE alembic_version SET version_num = '0000'",
        "DELETE FROM alembic_version",
        "INSERT INTO alembic_version VALUES ('9999')",
        "UPDATE database_epoch SET epoch = 9",
        "DELETE FROM database_epoch",
    ],
)
def test_the_role_that_serves_changes_no_table_and_sees_no_other_schema(todo_url: str, statement: str) -> None:
    with psycopg.connect(todo_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize("role", ["todo", "todo_owner"])
@pytest.mark.parametrize("database_of_nobody", ["postgres", "template1"])
def test_roles_of_services_connect_to_their_database_alone(
    cluster: Cluster, role: str, database_of_nobody: str
) -> None:
    schema = role.removesuffix("_owner")
    url = cluster.runtime_url if role == schema else cluster.owner_url
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url(schema, database_of_nobody))


def test_a_schema_whose_service_may_write_more_than_it_should_is_mended(
    cluster: Cluster, new_database: str, owner_url: str
) -> None:
    database.provision(cluster, [registry.load().service("todo")], new_database)
    with psycopg.connect(owner_url) as owner:
        owner.execute("GRANT ALL ON alembic_version, database_epoch TO todo")
    database.provision(cluster, [registry.load().service("todo")], new_database)
    with psycopg.connect(cluster.runtime_url("todo", new_database)) as connection:
        for table in ("alembic_version", "database_epoch"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"DELETE FROM {table}")
            connection.rollback()
