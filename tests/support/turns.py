"""Turns of the processes that share a test run: a test may ask for the machine to itself."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Waits while a test of another process runs alone; with `alone`, until no test of another process runs.

    Who waits to run alone holds the door, so that the others' next tests cannot keep it waiting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tests.door").open("w") as door, (folder / "tests.running").open("w") as running:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
