"""`make psql S=todo`: the database as a service sees it; O=1 as the schema's owner; without S as administrator."""

import os
import sys

from stack.commands.status import running_stack
from stack.database import MAIN
from stack.errors import StackError, run_command
from stack.infrastructure import postgres


def main() -> None:
    """Replaces this process with psql."""
    stack = running_stack()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    schemas = {service.name: service.schema for service in stack.registry.with_schema()}
    if not name:
        url = stack.cluster.administrator_url(MAIN)
    elif schema := schemas.get(name):
        url = stack.cluster.owner_url(schema) if os.environ.get("O") else stack.cluster.runtime_url(schema)
    else:
        raise StackError(f"{name} owns no schema", advice=f"`make psql S=` with one of {', '.join(schemas)}")
    binary = str(postgres.binary("psql"))
    # Not as an argument, where everybody could read the password in the list of processes.
    connection = {"PGSERVICEFILE": os.devnull, **_variables(url)}
    os.execve(binary, [binary], {**os.environ, **connection})  # noqa: S606 (the point of it)


def _variables(url: str) -> dict[str, str]:
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 (psql needs nothing else of it)

    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    parsed = conninfo_to_dict(url)
    return {variable: str(parsed[name]) for name, variable in names.items()}


if __name__ == "__main__":
    run_command(main)
