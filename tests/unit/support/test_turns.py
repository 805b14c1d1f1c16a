"""Turns of the processes that share a test run."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.waiting import wait_until
from tests.support.turns import turn


class Turn:
    """A turn that another process takes, and that lasts until `end`."""

    def __init__(self, pool: ThreadPoolExecutor, folder: Path, *, alone: bool) -> None:
        self.began, self._ending = threading.Event(), threading.Event()
        self._done: Future[None] = pool.submit(self._take, folder, alone)

    def _take(self, folder: Path, alone: bool) -> None:
        with turn(folder, alone=alone):
            self.began.set()
            assert self._ending.wait(10)

    def end(self) -> None:
        self._ending.set()
        self._done.result(10)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def waited_for(file: Path) -> bool:
    """Whether a lock of this file is waited for: /proc/locks marks those who wait by an arrow."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in lock and f":{file.stat().st_ino} " in lock for lock in locks)


def test_tests_of_two_processes_run_side_by_side(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    first, second = Turn(pool, tmp_path, alone=False), Turn(pool, tmp_path, alone=False)
    assert first.began.wait(10)
    assert second.began.wait(10)
    first.end()
    second.end()


def test_a_test_alone_waits_for_those_that_run_and_holds_off_the_next(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    running = Turn(pool, tmp_path, alone=False)
    assert running.began.wait(10)
    alone = Turn(pool, tmp_path, alone=True)
    wait_until(lambda: waited_for(tmp_path / "tests.running"), "the test alone waits", 10)
    following = Turn(pool, tmp_path, alone=False)
    assert not alone.began.is_set()
    running.end()
    assert alone.began.wait(10)
    assert not following.began.is_set()
    alone.end()
    assert following.began.wait(10)
    following.end()
