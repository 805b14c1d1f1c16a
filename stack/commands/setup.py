"""`make setup`: the environment of a checkout, rebuilt only when a lock changed.

Runs on a bare system Python with nothing installed: standard library only, and nothing imported from the repository.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".focusmesh"
UV = ROOT / ".build" / "uv"
UV_STAMP = UV / ".lock"
UV_LOCK = ROOT / "tools" / "uv.lock"
REQUIREMENTS = ROOT / "requirements.lock"
JARS_LOCK = ROOT / "stack" / "jars.lock"
JARS_STAMP = ROOT / ".build" / "jars" / "kafka" / ".lock"
OLDEST = (3, 11)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints what takes long, and how long it took."""
    print(f"setup: {what} …", flush=True)
    began = time.monotonic()
    yield
    print(f"setup: {what}: {time.monotonic() - began:.1f} s", flush=True)


def run(*command: str | Path, advice: str, **environment: str) -> None:
    """Runs a step quietly; exits with what it printed and what to try when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = "\n".join(done.stdout.splitlines()[-20:])
        sys.exit(f"{lines}\nsetup: failed: {' '.join(map(str, command))}\nTry: {advice}")


def identity() -> str:
    """What a virtual environment is tied to: an interpreter and its own path."""
    return f"{sys.implementation.cache_tag} {sysconfig.get_platform()} {Path(sys.base_prefix).resolve()} {VENV}"


def expected() -> str:
    """The stamp of an environment that is complete and current."""
    return f"{identity()}\n{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()}\n"


def stamped() -> str:
    """The stamp that the environment bears; empty when it was never finished."""
    return STAMP.read_text() if STAMP.exists() else ""


def usable() -> bool:
    """Whether the environment was made by this interpreter at this path, and starts."""
    if not PYTHON.exists() or stamped().partition("\n")[0] != identity():
        return False
    started = subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False)
    return started.returncode == 0


def make_environment() -> None:
    """Makes .venv anew; a half-made one, or another interpreter's, goes first."""
    with step("virtual environment"):
        shutil.rmtree(VENV, ignore_errors=True)
        interpreter = getattr(sys, "_base_executable", sys.executable)
        run(
            interpreter,
            "-m",
            "venv",
            VENV,
            advice="install your system's package for Python's venv, such as python3-venv",
        )
    STAMP.write_text(f"{identity()}\n")


def install_uv() -> Path:
    """The pinned installer, in a folder of its own so that syncing the environment cannot remove it."""
    if not UV_STAMP.exists() or UV_STAMP.read_text() != UV_LOCK.read_text():
        with step("installer"):
            shutil.rmtree(UV, ignore_errors=True)
            run(
                *(PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
                *("--target", UV, "-r", UV_LOCK),
                advice="check the way to the package index (pip's own settings are used), then `make setup`",
            )
        UV_STAMP.write_text(UV_LOCK.read_text())
    return UV / "bin" / "uv"


def sync() -> None:
    """Makes the environment hold exactly the locked packages."""
    uv = install_uv()
    with step("packages"):
        run(
            *(uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes", "--python", PYTHON, REQUIREMENTS),
            advice="check the way to the package index and the free disk, then `make setup`",
        )
    STAMP.write_text(expected())


def fetch_jars() -> None:
    """Makes .build/jars hold exactly the locked jars of the broker."""
    with step("Kafka's jars"):
        run(
            PYTHON, "-m", "stack.jars", advice="check the way to Maven Central, then `make setup`", PYTHONPATH=str(ROOT)
        )


def main() -> None:
    """Does only what is missing; a tenth of a second when nothing is."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"setup: this is Python {sys.version.split()[0]}; Focusmesh needs {OLDEST[0]}.{OLDEST[1]} or newer.\n"
            "Try: make setup PYTHON3=/path/to/a/newer/python3"
        )
    if stamped() != expected() or not PYTHON.exists():
        if not usable():
            make_environment()
        sync()
    if not JARS_STAMP.exists() or JARS_STAMP.read_text() != JARS_LOCK.read_text():
        fetch_jars()


if __name__ == "__main__":
    main()
