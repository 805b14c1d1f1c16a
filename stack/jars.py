"""The broker's jars: fetched by coordinates, accepted by SHA-256, both from a lock file."""

import hashlib
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from stack.layout import BUILD, JARS

LOCK = Path(__file__).with_name("jars.lock")
STAMP = JARS / ".lock"
_AT_ONCE = 8


class Jar(NamedTuple):
    """One line of the lock: `group:artifact:version sha256`."""

    group: str
    artifact: str
    version: str
    digest: str

    @property
    def file(self) -> str:
        """Its name in the folder; with the group, since two groups may name an artifact alike."""
        return f"{self.group}.{self.artifact}-{self.version}.jar"


def locked(lock: Path = LOCK) -> tuple[Jar, ...]:
    """What the lock pins."""
    lines = (line for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Jar._make((*coordinates.split(":"), digest)) for coordinates, digest in map(str.split, lines))


def fetch(jar: Jar, folder: Path = JARS) -> Path:
    """The jar in `folder`, downloaded once; raises ValueError when it is not what the lock pins."""
    kept = folder / jar.file
    if not kept.exists():
        from jgo.maven import MavenContext  # noqa: PLC0415 (slow to import, needed once)

        context = MavenContext(repo_cache=BUILD / "maven", timeout=60)
        downloaded = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        shutil.move(downloaded, kept.with_suffix(".part"))
        kept.with_suffix(".part").replace(kept)
    if hashlib.sha256(kept.read_bytes()).hexdigest() != jar.digest:
        kept.unlink()
        raise ValueError(f"{jar.file} is not the jar that {LOCK.name} pins; removed")
    return kept


def current() -> bool:
    """Whether the folder holds what the lock says, by its stamp."""
    return STAMP.exists() and STAMP.read_text() == LOCK.read_text()


def fill() -> None:
    """Makes the folder hold exactly the locked jars."""
    jars = locked()
    JARS.mkdir(parents=True, exist_ok=True)
    STAMP.unlink(missing_ok=True)
    for stale in set(JARS.iterdir()) - {JARS / jar.file for jar in jars}:
        stale.unlink()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(fetch, jars), start=1):
            if done % 10 == 0:
                print(f"  {done} of {len(jars)} jars", flush=True)
    STAMP.write_text(LOCK.read_text())


if __name__ == "__main__":
    try:
        fill()
    except (ValueError, OSError) as failure:
        sys.exit(f"jars: {failure}. Run `make setup` again.")
