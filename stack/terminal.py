"""Output for people: colours where the terminal supports them, tables, sizes and times."""

import os
import sys
from collections.abc import Sequence

RED, GREEN, YELLOW, BLUE, GREY = 31, 32, 33, 34, 90


def coloured() -> bool:
    """Whether to use colours: a terminal, and no NO_COLOR."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def colour(text: str, code: int) -> str:
    """The text in a colour, or as it is."""
    return f"\033[{code}m{text}\033[0m" if coloured() else text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a head, as wide as they must be."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return "\n".join((colour(lines[0], GREY), *lines[1:]))


def mebibytes(size: int) -> str:
    """A size in MiB."""
    return f"{size / (1 << 20):.0f} MiB"


def duration(seconds: float) -> str:
    """A time that people read: `42 s`, `3 min`, `2 h 5 min`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
