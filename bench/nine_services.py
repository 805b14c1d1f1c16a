"""How long nine services take to start, what that costs, and what all processes of their stack hold.

Services made from the template make up the number, in a copy of the repository. Alone: python -m bench.nine_services
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from bench.startup import memory_of, timed_start
from stack import registry
from stack.errors import LOG_LINES, StackError, run_command
from stack.layout import RUN, State
from stack.preflight import claim_ports
from stack.stack import Stack
from tools import generate
from tools.new_service import __main__ as new_service
from tools.paths import BUILD, ROOT

SERVICES = 9
_NOT_COPIED = (".*", "__pycache__")
_DOWNLOADED = ("jars", "proto-deps", "proto-jars")
"""Of .build, what `make setup` and `make proto` fetched; everything else there is written anew by each of them."""


class NineServices(NamedTuple):
    """One start with bytecode, tables and topics in place."""

    warm_seconds: float
    """Until every service and the gateway serve."""
    cpu_seconds: list[float]
    """Of each service from its start until all serve."""
    memory_mib: float
    """Proportional set size of all processes, infrastructure and gateway included."""

    @property
    def cpu_median(self) -> float:
        """CPU seconds of the service in the middle."""
        return median(self.cpu_seconds)


def measure() -> NineServices:
    """Starts nine services in a copy of the repository; nothing of it is left. Raises StackError."""
    folder = RUN / "bench-nine"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        copy = _copy(folder / "copy")
        printed = _run(copy, "bench.nine_services", "start")
        return NineServices(**json.loads(printed.splitlines()[-1]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(target: Path) -> Path:
    """A copy of the repository with services of the template added, and all that `make proto` makes."""
    generate.build_image()  # fetches what is still missing
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    (target / ".build").mkdir()
    for name in _DOWNLOADED:
        (target / ".build" / name).symlink_to(BUILD / name)
    for number in range(SERVICES - len(registry.load().services)):
        name = f"sample{chr(ord('a') + number)}"
        new_service.begin(target, name, name)
    _run(target, "tools.generate")
    return target


def _run(root: Path, module: str, *arguments: str) -> str:
    """What a module of the copy prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "gen" / "python")))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        log = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_LINES:])
        raise StackError(f"{module} failed in a copy with nine services", log=log, advice="`make lint`, `make up`")
    return done.stdout


def _start() -> NineServices:
    """Starts this repository's stack twice and measures the second start."""
    ports, claim = claim_ports()
    stack = Stack(State(RUN / "nine"), ports)
    with claim:
        try:
            timed_start(stack)
            stack.stop()
            warm = timed_start(stack)
            cpu = [_cpu_seconds(stack.pid(replica.name)) for replica in stack.replicas]
            return NineServices(warm, cpu, sum(memory.proportional_mib for memory in memory_of(stack)))
        finally:
            stack.stop()


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return round(times.user + times.system, 2)


def main(arguments: list[str]) -> None:
    """Prints the measurement as JSON; `start` measures this repository as it is."""
    print(json.dumps((_start() if arguments else measure())._asdict()))


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
