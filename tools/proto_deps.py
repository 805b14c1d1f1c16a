"""Third-party contracts that protos/ imports, taken out of pinned packages into .build/proto-deps.

google/api and google/rpc come from the wheel that the services import at run time; buf/validate/validate.proto from
the Maven jar of the same rules, since the Python wheel has it only as a descriptor (tests/contract compares the two).
"""

import hashlib
import shutil
import sys
import zipfile
from pathlib import Path

import google.api.http_pb2
from jgo.maven import MavenContext

from tools.paths import BUILD, PROTO_DEPS, ROOT

GOOGLE = (
    "google/api/annotations.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)
VALIDATE = "buf/validate/validate.proto"
VALIDATE_JAR = "build.buf:protovalidate"
JARS_LOCK = ROOT / "tools" / "jars.lock"
STAMP = PROTO_DEPS / ".stamp"


def locked_jar(name: str) -> tuple[str, str]:
    """Version and SHA-256 of `group:artifact` in the lock."""
    for line in JARS_LOCK.read_text().splitlines():
        if line.startswith(f"{name}:"):
            coordinates, digest = line.split()
            return coordinates.rsplit(":", 1)[1], digest
    raise LookupError(f"{JARS_LOCK} does not pin {name}")


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def jar(name: str) -> Path:
    """The locked jar, downloaded once; exits when its content is not the locked one."""
    version, digest = locked_jar(name)
    group, artifact = name.split(":")
    kept = BUILD / "jars" / f"{artifact}-{version}.jar"
    if not kept.exists():
        print(f"proto-deps: fetching {name}:{version}")
        context = MavenContext(repo_cache=BUILD / "maven", timeout=60)
        fetched = context.project(group, artifact).at_version(version).artifact().resolve()
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fetched, kept)
    if sha256(kept) != digest:
        kept.unlink()
        sys.exit(f"proto-deps: {kept.name} is not the jar that {JARS_LOCK.relative_to(ROOT)} pins; removed, run again")
    return kept


def stamp() -> str:
    """Changes whenever the outcome would."""
    return f"{sha256(JARS_LOCK)} {sha256(Path(__file__))} {sha256(ROOT / 'requirements.lock')}"


def fill() -> None:
    """Fills .build/proto-deps unless it is there already for these locks."""
    if STAMP.exists() and STAMP.read_text() == stamp():
        return
    shutil.rmtree(PROTO_DEPS, ignore_errors=True)
    site = Path(google.api.http_pb2.__file__).parents[2]
    for name in (*GOOGLE, VALIDATE):
        (PROTO_DEPS / name).parent.mkdir(parents=True, exist_ok=True)
    for name in GOOGLE:
        shutil.copyfile(site / name, PROTO_DEPS / name)
    with zipfile.ZipFile(jar(VALIDATE_JAR)) as archive:
        (PROTO_DEPS / VALIDATE).write_bytes(archive.read(VALIDATE))
    STAMP.write_text(stamp())


if __name__ == "__main__":
    fill()
