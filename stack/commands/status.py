"""`make status`: the state and health of every program."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from stack.errors import StackError, run_command
from stack.infrastructure import gateway, kafka, mail, postgres
from stack.layout import Ports, main_state
from stack.stack import Stack
from stack.supervisor import Status
from stack.terminal import GREEN, GREY, RED, colour, duration, mebibytes, table

HEAD = ("program", "state", "pid", "port", "uptime", "restarts", "memory", "health")


def running_stack() -> Stack:
    """The stack of this checkout. Raises StackError when none runs."""
    stack = Stack.running(main_state())
    if stack is None:
        raise StackError("no stack runs", advice="`make up`")
    return stack


def port(stack: Stack, name: str) -> int:
    """Where a program is called."""
    ports: Ports = stack.ports
    known = {
        postgres.NAME: ports.postgres,
        **ports.valkey,
        kafka.NAME: ports.kafka,
        mail.NAME: ports.mail,
        gateway.NAME: ports.gateway,
        **{replica.name: replica.port(ports) for replica in stack.replicas},
    }
    return known[name]


def row(stack: Stack, status: Status) -> tuple[str, ...]:
    """One line of the table."""
    up = status.state == "RUNNING"
    healthy = up and stack.healthy(status.name)
    return (
        status.name,
        status.state.lower(),
        str(status.pid or "-"),
        str(port(stack, status.name)),
        duration(time.time() - status.started) if up else "-",
        str(stack.supervisor.restarts(status.name)),
        mebibytes(stack.memory(status.pid)) if status.pid else "-",
        colour("healthy", GREEN) if healthy else colour("not serving" if up else "away", RED),
    )


def rows(stack: Stack) -> Iterator[tuple[str, ...]]:
    """All lines, in the order of starting."""
    statuses = stack.status()
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda name: row(stack, statuses[name]), stack.programs)


def main() -> None:
    """Prints the table; exits with 1 when a program is unhealthy."""
    stack = running_stack()
    found = list(rows(stack))
    used = stack.memory(stack.supervisor.pid or 0)
    print(table(HEAD, found))
    print(colour(f"\nsupervisord (pid {stack.supervisor.pid}) and everything under it: {mebibytes(used)}", GREY))
    if any("healthy" not in line[-1] for line in found):
        raise SystemExit(1)


if __name__ == "__main__":
    run_command(main)
