"""Writes docs/rpcs.md: every RPC with its handler, route, policy and errors.

usage: python -m tools.rpc_index OUT
"""

import ast
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from contract.descriptors import Contract
from contract.methods import Method
from tools import generate
from tools.paths import ROOT

HEAD = """# Every RPC

Generated from the contract and the code by `make proto` and `make fmt`; never edited. The name of an RPC leads to its
code: the handler has the same name. Errors that any call may get are left out:
[error_reason.proto](../protos/focusmesh/type/v1/error_reason.proto) lists them.
"""
COLUMNS = ("RPC", "handler", "REST", "who", "rate class", "deadline", "errors")


def handler_files(service: str) -> list[Path]:
    """Where a service keeps its handlers: one file, or a package split by resource."""
    folder = ROOT / "services" / service
    return sorted([*folder.glob("handlers.py"), *folder.glob("handlers/*.py")])


def handlers(service: str) -> Iterator[tuple[str, str]]:
    """Every method of a handler class: its name and its file."""
    for path in handler_files(service):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.AsyncFunctionDef):
                        yield method.name, str(path.relative_to(ROOT))


def handler_link(rpc: Method) -> str:
    """A link to the handler of an RPC; empty while there is none."""
    for name, path in handlers(rpc.owner):
        if name == rpc.name:
            return f"[{path.removeprefix('services/')}](../{path})"
    return ""


def row(rpc: Method) -> str:
    """One line of the table."""
    who = rpc.access.lower() + (f", `{rpc.scope}`" if rpc.scope else "")
    if rpc.callers:
        who += f": {', '.join(rpc.callers)}"
    cells = (
        f"[{rpc.name}](../protos/{rpc.file})",
        handler_link(rpc),
        f"`{rpc.verb} {rpc.path}`" if rpc.verb else "",
        who,
        rpc.rate.lower(),
        "none" if rpc.streaming else f"{rpc.deadline_seconds} s",
        ", ".join(rpc.errors or ()),
    )
    return f"| {' | '.join(cells)} |"


def index(described: Contract) -> str:
    """The whole page."""
    pieces = [HEAD]
    for name, rpcs in groupby(described.rpcs, key=lambda rpc: rpc.full_service):
        pieces.append(f"\n## {name}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n")
        pieces += [f"{row(rpc)}\n" for rpc in rpcs]
    return "".join(pieces)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(index(generate.contract()))
