"""How long the stack takes to start and to stop, and what its processes hold."""

import time
from contextlib import suppress
from typing import NamedTuple

import psutil

from stack.stack import Stack

_MEBIBYTE = 2**20


class Memory(NamedTuple):
    """What one process and its children hold."""

    name: str
    resident_mib: float
    proportional_mib: float
    """Proportional: a page that n processes share counts 1/n."""


class StartUp(NamedTuple):
    """Seconds, and memory after the load."""

    cold_seconds: float
    """With an empty state folder: cluster, storage, roles, topics and migrations are made."""
    warm_seconds: float
    down_seconds: float
    memory: list[Memory]

    @property
    def memory_mib(self) -> float:
        """Sum over all processes."""
        return sum(memory.proportional_mib for memory in self.memory)


def timed_start(stack: Stack) -> float:
    """Seconds until everything serves."""
    began = time.monotonic()
    stack.start()
    return time.monotonic() - began


def timed_stop(stack: Stack) -> float:
    """Seconds until nothing is left."""
    began = time.monotonic()
    stack.stop()
    return time.monotonic() - began


def memory_of(stack: Stack) -> list[Memory]:
    """Every process of a running stack, its supervisor included."""
    pids = {"supervisor": stack.supervisor.pid or 0, **{name: stack.pid(name) for name in stack.programs}}
    return [_memory(name, pid) for name, pid in pids.items()]


def _memory(name: str, pid: int) -> Memory:
    root = psutil.Process(pid)
    # The supervisor's children are the programs themselves, which are measured as such.
    family = [root] if name == "supervisor" else [root, *root.children(recursive=True)]
    resident = proportional = 0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            held = process.memory_full_info()
            resident += held.rss
            proportional += held.pss
    return Memory(name, resident / _MEBIBYTE, proportional / _MEBIBYTE)
