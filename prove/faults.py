"""Faults: programs and services that are killed, and how long the stack takes to bring them back."""

import os
import signal
import time
from functools import partial
from typing import NamedTuple

from harness.waiting import wait_until
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


def names(stack: Stack) -> tuple[str, ...]:
    """What is killed, one after the other."""
    return (*(service.name for service in stack.services), kafka.NAME, valkey.NAME, postgres.NAME)


def inject(stack: Stack, name: str) -> Outage:
    """Kills a program, or all replicas of a service at once, and returns when it works again. Raises StackError.

    Postgres gets an immediate shutdown: it ends without a checkpoint and comes back through recovery.
    """
    programs = [replica.name for replica in stack.replicas if replica.service.name == name] or [name]
    number = signal.SIGQUIT if name == postgres.NAME else signal.SIGKILL
    pids = {program: stack.pid(program) for program in programs}
    began = time.monotonic()
    for pid in pids.values():
        os.kill(pid, number)
    for program, pid in pids.items():
        wait_until(
            partial(_is_back, stack, program, pid),
            f"{program} is back",
            _BACK_SECONDS,
            poll=_POLL_SECONDS,
            advice=f"`make logs S={program}`",
        )
    ended = time.monotonic()
    how = "immediate shutdown" if number == signal.SIGQUIT else "kill -9"
    return Outage(name, how, began, ended)


def _is_back(stack: Stack, program: str, pid: int) -> bool:
    now = stack.status()[program].pid
    return now not in (0, pid) and stack.healthy(program)
