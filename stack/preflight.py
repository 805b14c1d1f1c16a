"""Checks before a stack starts; each failure names what is in the way and what to try."""

import contextlib
import os
import random
import shutil
import socket
import sys
import time
from collections.abc import Collection, Iterable, Iterator

import psutil

from stack.errors import StackError
from stack.layout import LOOPBACK, PORTS, Ports, State

OLDEST_PYTHON = (3, 11)
DISK_BYTES = 1 << 30
MEMORY_BYTES = 3 << 29
_BASES = range(20000, 32500, PORTS)
"""Below the ports that outgoing connections take."""
_END_SECONDS = 5
_POLL_SECONDS = 0.02
STATE_VARIABLE = "FOCUSMESH_STATE_FOLDER"
"""In the environment of everything a stack starts, so that its processes are found even without a supervisor."""


def python() -> None:
    """Raises StackError when this Python is too old."""
    if sys.version_info < OLDEST_PYTHON:
        raise StackError(
            f"Python {sys.version.split()[0]} is too old", advice="`make setup PYTHON3=…` with 3.11 or newer"
        )


def disk(state: State) -> int:
    """Free bytes where the state lies. Raises StackError when they are too few."""
    folder = next(path for path in (state.folder, *state.folder.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES:
        raise StackError(
            f"{free >> 20} MiB are free on the disk of {folder}; the stack wants {DISK_BYTES >> 20}",
            advice="free some, or `FOCUSMESH_STATE=/another/disk make up`",
        )
    return free


def memory() -> int:
    """Bytes that can be had without swapping. Raises StackError when they are too few."""
    available = psutil.virtual_memory().available
    if available < MEMORY_BYTES:
        raise StackError(
            f"{available >> 20} MiB of memory are free; the stack wants {MEMORY_BYTES >> 20}", advice="free some"
        )
    return available


def free_ports(expected: Iterable[int]) -> None:
    """Raises StackError that names who holds each port that is taken."""
    taken = {port: owner(port) for port in expected if not is_free(port)}
    if taken:
        held = "\n".join(f"port {port} is held by {who}" for port, who in taken.items())
        raise StackError(held, advice="stop it, or take other ports: `FOCUSMESH_PORT_BASE=19000 make up`")


def owner(port: int) -> str:
    """Name and pid of the process that listens on a port, as far as this user may see."""
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid and not connection.raddr:
                with contextlib.suppress(psutil.NoSuchProcess):
                    return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "a process of another user"


def leftovers(state: State) -> Iterator[psutil.Process]:
    """Processes that were started for this state and are still there."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(STATE_VARIABLE) == str(state.folder):
                yield process


def end(processes: Iterable[psutil.Process]) -> None:
    """Kills processes that nobody watches any more, and returns when they are gone."""
    killed = list(processes)
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_ended(killed, _END_SECONDS)


def wait_ended(processes: Collection[psutil.Process], seconds: float) -> None:
    """Waits until processes have ended, at most so long.

    psutil's own wait goes on while a process that is not a child is a zombie, until init takes note of it: seconds.
    """
    deadline = time.monotonic() + seconds
    while not all(map(_ended, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def claim_ports() -> tuple[Ports, socket.socket]:
    """Ports that nobody uses, and the claim on them: nobody else gets them while it is open. Raises StackError."""
    for base in random.sample(_BASES, len(_BASES)):
        claim = socket.socket()
        try:
            claim.bind((LOOPBACK, base))
        except OSError:
            claim.close()
            continue
        if all(map(is_free, range(base + 1, base + PORTS))):
            return Ports(base), claim
        claim.close()
    raise StackError("no block of ports is free", advice="`make status`, and stop what runs")


def is_free(port: int) -> bool:
    """Whether a listener could take the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a port in TIME_WAIT counts as taken
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
