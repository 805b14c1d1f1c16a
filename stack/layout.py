"""Paths and ports: the folders of a checkout, of a stack's state, and the ports of a stack."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
JARS = BUILD / "jars" / "kafka"
RUN = ROOT / ".run"
DEFAULT_PORT_BASE = 18000
PORTS = 250
"""How many ports from its base a stack may take: those of its infrastructure, and services from 100 on."""
LOOPBACK = "127.0.0.1"
DEVELOPMENT_ORIGINS = ",".join(
    f"http://{host}:{port}"
    for host in ("localhost", LOOPBACK)
    for port in (3000, 3001, 4173, 4200, 4321, 5173, 8000, 8080, 8081)
)
"""Where the servers of common front-end tools listen; the default of FOCUSMESH_ALLOWED_ORIGINS on one machine."""
PYTHON_PATH = os.pathsep.join((str(ROOT), str(ROOT / "gen" / "python")))
PRIVATE_FOLDER, PRIVATE_FILE, PRIVATE_UMASK = 0o700, 0o600, 0o077
"""Modes of a stack's state, which holds tasks, events, mails and secrets; and the umask of all its programs."""

_LONGEST_SOCKET_PATH = 100
"""A unix socket's path holds 107 bytes, and supervisord briefly binds a longer name."""


@dataclass(frozen=True)
class Ports:
    """Every listener of one stack, counted from its base. All on loopback."""

    base: int

    @property
    def postgres(self) -> int:
        """Port of Postgres."""
        return self.base + 10

    @property
    def valkey(self) -> Mapping[str, int]:
        """Port of each Valkey, by its name."""
        return {"valkey": self.base + 11, "valkey-pomodoro": self.base + 15, "valkey-realtime": self.base + 16}

    @property
    def kafka(self) -> int:
        """Port of the broker for clients."""
        return self.base + 12

    @property
    def kafka_controller(self) -> int:
        """Port of the broker's own quorum."""
        return self.base + 13

    @property
    def mail(self) -> int:
        """Port of the mail catcher, SMTP."""
        return self.base + 14

    @property
    def gateway(self) -> int:
        """Port of the gateway for callers: REST, gRPC, gRPC-Web and WebSocket."""
        return self.base + 80

    @property
    def gateway_metrics(self) -> int:
        """Port of the gateway's readiness and metrics."""
        return self.base + 81

    @property
    def gateway_internal(self) -> int:
        """Port from which the gateway itself fetches, such as keys."""
        return self.base + 82

    def service(self, offset: int, replica: int = 0) -> int:
        """A service's listener."""
        return self.base + offset + replica


@dataclass(frozen=True)
class State:
    """The folder of a stack's state, the only one it writes to."""

    folder: Path

    @property
    def logs(self) -> Path:
        """Folder of the logs, one file per program."""
        return self.folder / "logs"

    @property
    def postgres(self) -> Path:
        """Data folder of Postgres."""
        return self.folder / "postgres"

    @property
    def kafka(self) -> Path:
        """Folder of the broker's partitions and metadata."""
        return self.folder / "kafka"

    @property
    def mail(self) -> Path:
        """What the mail catcher keeps, a file per message."""
        return self.folder / "mail"

    @property
    def gateway(self) -> Path:
        """The gateway's generated configuration."""
        return self.folder / "gateway"

    def log(self, program: str) -> Path:
        """The log of a program."""
        return self.logs / f"{program}.log"

    def socket(self, name: str) -> Path:
        """A unix socket; beside the state when the state's own path is too long for one."""
        path = self.folder / f"{name}.sock"
        if len(str(path)) <= _LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"focusmesh-{digest}-{name}.sock"


def private_folder(path: Path) -> Path:
    """Makes a folder that only its owner may enter, or closes one that is there to all others."""
    path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    path.chmod(PRIVATE_FOLDER)
    return path


def private_file(path: Path) -> Path:
    """Makes a file that only its owner may read, or closes one that is there to all others."""
    path.touch(PRIVATE_FILE)
    path.chmod(PRIVATE_FILE)
    return path


def main_state() -> State:
    """The state of `make up`; FOCUSMESH_STATE moves it."""
    return State(Path(os.environ.get("FOCUSMESH_STATE", RUN / "stack")).absolute())


def main_ports() -> Ports:
    """The ports of `make up`; FOCUSMESH_PORT_BASE moves them."""
    return Ports(int(os.environ.get("FOCUSMESH_PORT_BASE", DEFAULT_PORT_BASE)))
