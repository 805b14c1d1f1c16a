"""Third-party contracts that protos/ imports, taken out of pinned packages into .build/proto-deps.

google/api and google/rpc come from the wheel that the services import at run time; buf/validate/validate.proto from
the Maven jar of the same rules, since the Python wheel has it only as a descriptor (tests/contract compares the two).
"""

import fcntl
import hashlib
import shutil
import sys
import zipfile
from pathlib import Path

import google.api.http_pb2

from stack import jars
from tools.paths import BUILD, PROTO_DEPS, ROOT

GOOGLE = (
    "google/api/annotations.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/api/httpbody.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)
VALIDATE = "buf/validate/validate.proto"
JARS_LOCK = ROOT / "tools" / "jars.lock"
STAMP = PROTO_DEPS / ".stamp"


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def jar() -> Path:
    """The jar with the rules' contract, downloaded once; exits when its content is not the locked one."""
    (locked,) = jars.locked(JARS_LOCK)
    folder = BUILD / "proto-jars"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return jars.fetch(locked, folder)
    except ValueError as failure:
        sys.exit(f"proto-deps: {failure}; run it again")


def stamp() -> str:
    """Changes whenever the outcome would."""
    return f"{sha256(JARS_LOCK)} {sha256(Path(__file__))} {sha256(ROOT / 'requirements.lock')}"


def fill() -> None:
    """Fills .build/proto-deps unless it is there already for these locks; processes that come together take turns."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "proto-deps.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not STAMP.exists() or STAMP.read_text() != stamp():
            _fill()


def _fill() -> None:
    shutil.rmtree(PROTO_DEPS, ignore_errors=True)
    site = Path(google.api.http_pb2.__file__).parents[2]
    for name in (*GOOGLE, VALIDATE):
        (PROTO_DEPS / name).parent.mkdir(parents=True, exist_ok=True)
    for name in GOOGLE:
        shutil.copyfile(site / name, PROTO_DEPS / name)
    with zipfile.ZipFile(jar()) as archive:
        (PROTO_DEPS / VALIDATE).write_bytes(archive.read(VALIDATE))
    STAMP.write_text(stamp())


if __name__ == "__main__":
    fill()
