"""Migrations: numbered Alembic revisions in plain SQL, run by the schema's owner and never by a service.

    python -m mesh.database.migrate todo        upgrade the schema of one service to its head revision

Revisions are named by number (`0001_initial.py` is revision "0001"), so a service knows its head without Alembic;
it is not ready while the schema is behind.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROOT = Path(__file__).resolve().parents[2]
LOCK_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 300
READ_ONLY = ("alembic_version", "database_epoch")
"""Tables that only the owner writes: a service reads which revision its schema is at, and its events' epoch."""
OWNER_URL = "FOCUSMESH_OWNER_DATABASE_URL"


def messaging_tables() -> str:
    """SQL of the tables that mesh keeps in every schema; included in each service's first revision.

    The file is frozen once released: a change is a new file and a new revision in every service.
    """
    return Path(__file__).with_name("messaging.sql").read_text()


@cache
def head(service: str) -> str:
    """The head revision of a service: the number of its newest migration."""
    return max(path.name[:4] for path in (ROOT / "services" / service / "alembic" / "versions").glob("[0-9]*.py"))


async def revision_of(connection: psycopg.AsyncConnection[Any]) -> str:
    """The revision that the schema of this connection is at; empty before the first."""
    try:
        cursor = await connection.execute("SELECT version_num FROM alembic_version")
    except psycopg.errors.UndefinedTable:
        return ""
    row = await cursor.fetchone()
    return str(row[0]) if row else ""


def upgrade(service: str, owner_url: str) -> None:
    """Brings a service's schema to its head; waits for another upgrade of the same schema to end.

    owner_url: of the role that owns the schema. Raises sqlalchemy.exc.OperationalError when a table lock is not
    granted within five seconds: retry when there is less traffic.
    """
    from alembic import command  # noqa: PLC0415 (slow to import, and services never need it)
    from alembic.config import Config  # noqa: PLC0415

    config = Config(ROOT / "services" / service / "alembic" / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "services" / service / "alembic"))
    config.attributes["owner_url"] = owner_url
    config.attributes["service"] = service
    command.upgrade(config, "head")


def run() -> None:
    """What every service's `alembic/env.py` calls: one transaction a revision, one upgrade at a time."""
    from alembic import context  # noqa: PLC0415
    from sqlalchemy import create_engine, text  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    attributes = context.config.attributes
    url = str(attributes.get("owner_url") or os.environ[OWNER_URL])
    service = str(attributes.get("service") or Path(str(context.config.config_file_name)).parent.parent.name)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": f"focusmesh.migrate.{service}"})
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'"))
        connection.commit()
        _migrate(connection, service)


def _migrate(connection: "Connection", service: str) -> None:
    from alembic import context  # noqa: PLC0415
    from sqlalchemy import text  # noqa: PLC0415

    context.configure(
        connection=connection,
        version_table="alembic_version",
        version_table_schema=service,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    for table in READ_ONLY:
        connection.execute(text(f"REVOKE INSERT, UPDATE, DELETE ON {service}.{table} FROM {service}"))
    connection.commit()


def main() -> None:
    """Command line."""
    import argparse  # noqa: PLC0415 (services import this module, and never its command)

    parser = argparse.ArgumentParser(
        prog="python -m mesh.database.migrate", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("service", help="its folder in services/, such as todo")
    parser.add_argument(
        "--url", default=os.environ.get(OWNER_URL), help=f"of the schema's owner; default: ${OWNER_URL}"
    )
    arguments = parser.parse_args()
    if not arguments.url:
        sys.exit(f"mesh.database.migrate: set {OWNER_URL}, or give --url postgresql://todo_owner:…@host/focusmesh")
    upgrade(arguments.service, arguments.url)


if __name__ == "__main__":
    main()
