"""`make status`: every part with its state, and whether it does its work."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from stack.errors import StackError, run_command
from stack.infrastructure import gateway, kafka, postgres, valkey
from stack.layout import Ports, main_state
from stack.stack import Stack
from stack.supervisor import Status
from stack.terminal import GREEN, GREY, RED, colour, duration, mebibytes, table

HEAD = ("part", "state", "pid", "port", "uptime", "restarts", "memory", "health")


def running_stack() -> Stack:
    """The stack of this checkout. Raises StackError when none runs."""
    machine = Stack.running(main_state())
    if machine is None:
        raise StackError("no stack runs", advice="`make up`")
    return machine


def port(machine: Stack, name: str) -> int:
    """Where a program is called."""
    ports: Ports = machine.ports
    known = {
        postgres.NAME: ports.postgres,
        valkey.NAME: ports.valkey,
        kafka.NAME: ports.kafka,
        gateway.NAME: ports.gateway,
        **{replica.name: replica.port(ports) for replica in machine.replicas},
    }
    return known[name]


def row(machine: Stack, status: Status) -> tuple[str, ...]:
    """One line of the table."""
    up = status.state == "RUNNING"
    healthy = up and machine.healthy(status.name)
    return (
        status.name,
        status.state.lower(),
        str(status.pid or "-"),
        str(port(machine, status.name)),
        duration(time.time() - status.started) if up else "-",
        str(machine.supervisor.restarts(status.name)),
        mebibytes(machine.memory(status.pid)) if status.pid else "-",
        colour("healthy", GREEN) if healthy else colour("not serving" if up else "away", RED),
    )


def rows(machine: Stack) -> Iterator[tuple[str, ...]]:
    """All lines, in the order of starting."""
    statuses = machine.status()
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda name: row(machine, statuses[name]), machine.programs)


def main() -> None:
    """Prints the table; exits with 1 when a part does not do its work."""
    machine = running_stack()
    found = list(rows(machine))
    used = machine.memory(machine.supervisor.pid or 0)
    print(table(HEAD, found))
    print(colour(f"\nsupervisord (pid {machine.supervisor.pid}) and everything under it: {mebibytes(used)}", GREY))
    if any("healthy" not in line[-1] for line in found):
        raise SystemExit(1)


if __name__ == "__main__":
    run_command(main)
