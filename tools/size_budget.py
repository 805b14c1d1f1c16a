"""Files and functions stay small enough to be read at once.

A role file that outgrows its budget becomes a package split by resource; a function that does is two functions.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.paths import ROOT

FOLDERS = ("contract", "mesh", "services", "stack", "envoy", "tools", "bench", "prove", "harness")
FILE_LINES = 400
FUNCTION_LINES = 50
# What may be larger, and why.
ALLOWED: dict[str, str] = {}


def sources(root: Path) -> Iterator[Path]:
    """Every Python file under the budget."""
    for folder in FOLDERS:
        yield from sorted((root / folder).rglob("*.py"))


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Every function of a file with its length, docstring and signature included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def overruns(root: Path) -> Iterator[tuple[str, int, int]]:
    """What is too large: its name, its lines, its budget."""
    for path in sources(root):
        name, source = str(path.relative_to(root)), path.read_text()
        lines = source.count("\n")
        if lines > FILE_LINES:
            yield name, lines, FILE_LINES
        for function, length in functions(source):
            if length > FUNCTION_LINES:
                yield f"{name}:{function}", length, FUNCTION_LINES


def complaints(root: Path = ROOT) -> list[str]:
    """Overruns that are not allowed, and allowances that nothing needs any more."""
    found = {name: (lines, budget) for name, lines, budget in overruns(root)}
    unneeded = [f"{name}: allowed without need" for name in ALLOWED if name not in found]
    return unneeded + [
        f"{name}: {lines} lines, budget {budget}" for name, (lines, budget) in found.items() if name not in ALLOWED
    ]


if __name__ == "__main__":
    found = complaints()
    if found:
        sys.exit("\n".join(found))
    print("size budgets: kept")
