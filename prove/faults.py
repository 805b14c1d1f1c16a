"""Faults: parts and services that are killed, and how long the stack takes to bring them back."""

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from stack.errors import StackError
from stack.infrastructure import kafka, postgres, valkey
from stack.stack import Stack

_BACK_SECONDS = 40.0
_POLL_SECONDS = 0.02


class Outage(NamedTuple):
    """A fault and its end, in seconds of the steady clock."""

    name: str
    how: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began


def names(machine: Stack) -> tuple[str, ...]:
    """What is struck, one after the other."""
    return (*(service.name for service in machine.services), kafka.NAME, valkey.NAME, postgres.NAME)


def strike(machine: Stack, name: str) -> Outage:
    """Kills a part, or all replicas of a service at once, and returns when it does its work again. Raises StackError.

    Postgres is told to shut down immediately: it ends without a checkpoint and comes back through recovery.
    """
    programs = [replica.name for replica in machine.replicas if replica.service.name == name] or [name]
    number = signal.SIGQUIT if name == postgres.NAME else signal.SIGKILL
    pids = {program: machine.pid(program) for program in programs}
    began = time.monotonic()
    for pid in pids.values():
        os.kill(pid, number)
    ended = 0.0
    for program, pid in pids.items():
        ended = _until(lambda program=program, pid=pid: _is_back(machine, program, pid), program)  # type: ignore[misc]
    how = "immediate shutdown" if number == signal.SIGQUIT else "kill -9"
    return Outage(name, how, began, ended)


def _is_back(machine: Stack, program: str, pid: int) -> bool:
    now = machine.status()[program].pid
    return now not in (0, pid) and machine.healthy(program)


def _until(condition: Callable[[], bool], what: str) -> float:
    """When the condition came true."""
    deadline = time.monotonic() + _BACK_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not come back in {_BACK_SECONDS:.0f} s", advice=f"`make logs S={what}`")
        time.sleep(_POLL_SECONDS)
    return time.monotonic()
