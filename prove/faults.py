"""Faults: programs and services that are killed, and how long the stack takes to bring them back."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from itertools import cycle
from typing import NamedTuple

from harness.waiting import wait_until
from stack.errors import StackError
from stack.infrastructure import kafka, postgres, valkey
from stack.infrastructure.services import Replica
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
    return (*(service.name for service in stack.services), kafka.NAME, *valkey.NAMES, postgres.NAME)


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


async def kill_in_turn(stack: Stack, replicas: Sequence[Replica], pause: float) -> None:
    """Kills one replica after the other without end, with so many seconds before each; the stack starts it again."""
    for replica in cycle(replicas):
        await asyncio.sleep(pause)
        with contextlib.suppress(StackError, ProcessLookupError):  # it is being started
            os.kill(await asyncio.to_thread(stack.pid, replica.name), signal.SIGKILL)


def _is_back(stack: Stack, program: str, pid: int) -> bool:
    now = stack.status()[program].pid
    return now not in (0, pid) and stack.healthy(program)
