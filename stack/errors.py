"""Errors of the stack, each with the command to try next."""

from collections.abc import Callable
from pathlib import Path

LOG_LINES = 20


class StackError(Exception):
    """A command of the stack cannot go on; `advice` is the next command to try."""

    def __init__(self, what: str, *, advice: str, log: str = "") -> None:
        """log: the last lines of the program that failed."""
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.log = log

    def __str__(self) -> str:
        """Message, log and advice, as a terminal shows them."""
        shown = f"\n{self.log}\n" if self.log else ""
        return f"{self.what}{shown}\nTry: {self.advice}"


def tail(path: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a log; empty when there is none."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def run_command(command: Callable[[], None]) -> None:
    """Runs a verb; ends the process with what to do when it cannot be done."""
    try:
        command()
    except StackError as error:
        raise SystemExit(f"\n{error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
