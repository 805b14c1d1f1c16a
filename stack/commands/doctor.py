"""`make doctor`: checks every prerequisite of a start, with advice on what is missing."""

import sys
from collections.abc import Callable, Iterator

from stack import jars, preflight
from stack.errors import StackError, run_command
from stack.infrastructure import postgres
from stack.layout import main_ports, main_state
from stack.stack import Stack
from stack.terminal import GREEN, RED, colour, mebibytes

Check = tuple[str, Callable[[], str]]


def python() -> str:
    """The interpreter of the environment."""
    preflight.python()
    return f"{sys.version.split()[0]} in {sys.prefix}"


def disk() -> str:
    """Free disk space for the state."""
    return f"{mebibytes(preflight.disk(main_state()))} free"


def memory() -> str:
    """Available memory for the processes."""
    return f"{mebibytes(preflight.memory())} available"


def broker() -> str:
    """Kafka's jars."""
    if not jars.current():
        raise StackError("Kafka's jars are not those of the lock", advice="`make setup`")
    return f"{len(jars.locked())} jars as locked"


def database() -> str:
    """The binaries."""
    if not postgres.binary("postgres").exists():
        raise StackError("PostgreSQL is not in the environment", advice="`rm -rf .venv && make setup`")
    return "PostgreSQL 18 from the environment"


def ports() -> str:
    """Free, or held by our own stack."""
    stack = Stack.running(main_state())
    if stack is not None:
        return f"held by the stack that runs (base {stack.ports.base})"
    stray = [f"{process.name()} (pid {process.pid})" for process in preflight.leftovers(main_state())]
    if stray:
        raise StackError(f"left over without a supervisor: {', '.join(stray)}", advice="`make down`")
    preflight.free_ports(Stack(main_state(), main_ports()).listeners())
    return f"free (base {main_ports().base})"


CHECKS: tuple[Check, ...] = (
    ("Python", python),
    ("disk", disk),
    ("memory", memory),
    ("Kafka", broker),
    ("database", database),
    ("ports", ports),
)


def findings() -> Iterator[tuple[str, str, bool]]:
    """Every check with what it found, and whether all is well."""
    for name, check in CHECKS:
        try:
            yield name, check(), True
        except StackError as error:
            yield name, str(error), False


def main() -> None:
    """Prints the findings; exits with 1 when one prevents a start."""
    found = list(findings())
    for name, what, well in found:
        mark = colour("✓", GREEN) if well else colour("✗", RED)
        print(f"{mark} {name:<9} {what.replace(chr(10), chr(10) + ' ' * 12)}")
    if not all(well for _, _, well in found):
        raise SystemExit(1)


if __name__ == "__main__":
    run_command(main)
