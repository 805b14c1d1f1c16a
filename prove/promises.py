"""Promises: what is proven, with its figure, one a line and in a file for scripts."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.terminal import GREEN, GREY, RED, colour

_SHOWN_VIOLATIONS = 5


@dataclass(frozen=True)
class Promise:
    """One line of the report."""

    name: str
    figure: str
    holds: bool
    violations: Sequence[str] = ()
    """Why it does not hold."""

    @classmethod
    def unless(cls, violations: Sequence[str], name: str, figure: str) -> "Promise":
        """A promise that holds when there is nothing to complain about."""
        return cls(name, figure, not violations, violations)


def all_hold(promises: Sequence[Promise]) -> bool:
    """Whether something was proven, and nothing was found not to hold."""
    return bool(promises) and all(promise.holds for promise in promises)


def show(promise: Promise) -> None:
    """Prints a promise, and the first of its violations."""
    mark = colour("✓", GREEN) if promise.holds else colour("✗", RED)
    print(f"  {mark} {promise.name:<80} {promise.figure}", flush=True)
    for violation in promise.violations[:_SHOWN_VIOLATIONS]:
        print(colour(f"      {violation}", RED))
    if (more := len(promise.violations) - _SHOWN_VIOLATIONS) > 0:
        print(colour(f"      and {more} more", RED))


def note(text: str) -> None:
    """Prints progress."""
    print(colour(f"  {text}", GREY), flush=True)


def write(path: Path, seed: int, promises: Sequence[Promise]) -> None:
    """Writes the report for scripts."""
    entries = [asdict(promise) for promise in promises]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "promises": entries}, indent=1, ensure_ascii=False) + "\n")
