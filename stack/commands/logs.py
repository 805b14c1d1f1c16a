"""`make logs`: JSON lines as people read them; other lines as they are. N=100 lines of each program, F=1 follows."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stack.errors import StackError, run_command, tail
from stack.layout import State, main_state
from stack.terminal import BLUE, GREY, RED, YELLOW, colour

_LEVELS = {"DEBUG": GREY, "WARNING": YELLOW, "ERROR": RED, "CRITICAL": RED}
_SHOWN = {"time", "level", "service", "replica", "logger", "message"}
_POLL_SECONDS = 0.2


def readable(line: str) -> str:
    """One line of a log: time, level, message and whatever else it carries."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict) or "message" not in record:
        return line
    level = str(record.get("level", ""))
    more = " ".join(f"{name}={_plain(value)}" for name, value in record.items() if name not in _SHOWN)
    columns = (
        colour(str(record.get("time", ""))[11:23], GREY),
        colour(f"{level:<7}", _LEVELS.get(level, BLUE)),
        str(record["message"]),
        colour(more, GREY) if more else "",
    )
    return " ".join(filter(None, columns))


def chosen(state: State, program: str) -> list[Path]:
    """The logs of a program: `todo` has one per replica; empty chooses all. Raises StackError."""
    logs = sorted(
        path
        for path in state.logs.glob("*.log")
        if not program or path.stem.rpartition("-")[0] == program or path.stem == program
    )
    if not logs:
        names = sorted({path.stem for path in state.logs.glob("*.log")})
        there = f"there are {', '.join(names)}" if names else "nothing was started yet"
        raise StackError(f"there is no log of {program or 'anything'}; {there}", advice="`make up`, `make logs S=todo`")
    return logs


def follow(logs: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Name and line of everything that is written from now on; a log that was rotated begins anew."""
    return _written_after({path: path.stat().st_size for path in logs})


def _written_after(positions: dict[Path, int]) -> Iterator[tuple[str, str]]:
    while True:
        for path, position in positions.items():
            size = path.stat().st_size if path.exists() else 0
            if size == position:
                continue
            with path.open(errors="replace") as file:
                file.seek(position if size > position else 0)
                yield from ((path.stem, line.rstrip("\n")) for line in file)
                positions[path] = file.tell()
        sys.stdout.flush()
        time.sleep(_POLL_SECONDS)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def main() -> None:
    """Prints the end of the logs, and follows them when F is set."""
    logs = chosen(main_state(), sys.argv[1] if len(sys.argv) > 1 else "")
    width = max(len(path.stem) for path in logs)

    def show(name: str, line: str) -> None:
        print(f"{colour(name.ljust(width), BLUE)} {readable(line)}" if len(logs) > 1 else readable(line))

    for path in logs:
        for line in tail(path, int(os.environ.get("N", "40"))).splitlines():
            show(path.stem, line)
    if os.environ.get("F"):
        for name, line in follow(logs):
            show(name, line)


if __name__ == "__main__":
    run_command(main)
