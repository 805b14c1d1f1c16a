"""Processes that the benchmark starts itself, and what a process has used so far."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from bench.load import Job, Outcome
from harness.waiting import wait_until
from stack.errors import StackError, tail
from stack.layout import LOOPBACK, PYTHON_PATH, ROOT

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its children have used, user and system, all threads; ended children included."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        for process in (root := psutil.Process(pid), *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
    return total


class Neighbours:
    """What other programs use of the machine from now on."""

    def __init__(self, stack: int) -> None:
        """stack: pid of the supervisor; its family and this process's are ours."""
        self._ours = (stack, os.getpid())
        self._began = self._now()

    def share(self) -> float:
        """Of the CPU of all cores."""
        busy, every, ours = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return max(0.0, (busy - ours) / every)

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        every = sum(times[:8])  # what follows is contained in these
        return every - times.idle - times.iowait, every, sum(map(cpu_seconds, self._ours))


class Module:
    """A module of this repository, run as a process on one port."""

    def __init__(
        self, module: str, arguments: Iterable[str], port: int, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """port: that it listens on when it is ready."""
        self._command = [sys.executable, "-m", module, *arguments]
        self._port, self._log = port, log
        self._environment = {**os.environ, "PYTHONPATH": PYTHON_PATH, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None  # noqa: S101 (for the type checker)
        return self._process.pid

    def __enter__(self) -> Self:
        """Returns when it listens; raises StackError."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_until(self._listens, f"{self._command[2]} listens", _START_SECONDS, poll=_POLL_SECONDS)
        except StackError:
            self.__exit__(None, None, None)
            raise StackError(
                f"{self._command[2]} did not start", log=tail(self._log), advice="`make doctor`, then again"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise StackError("it ended", advice="")
        try:
            socket.create_connection((LOOPBACK, self._port), 1).close()
        except OSError:
            return False
        return True


class Generator:
    """The load generator's process."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": PYTHON_PATH}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, job: Job) -> Outcome:
        """Runs one job to its end; raises StackError when the generator itself fails."""
        assert self._process.stdin is not None  # noqa: S101 (for the type checker)
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise StackError(f"the load generator ended during {job.path}", advice="the lines above say why")
        return Outcome(**json.loads(line))
