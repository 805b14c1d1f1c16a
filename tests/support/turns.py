"""Turns of the processes that share a test run: a test may ask for the machine to itself."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """A readers-writer lock between processes: tests share it, and a test that runs `alone` has it exclusively.

    Every test passes `tests.door` first. A test that waits to run alone keeps it locked, so that later tests queue
    behind it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tests.door").open("w") as door, (folder / "tests.running").open("w") as running:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
