"""Fails when gen/ or docs/rpcs.md as committed differ from what protos/ and the code generate."""

import sys
from pathlib import Path

from tools import generate
from tools.paths import BUILD, GEN, ROOT, RPC_INDEX

FRESH = BUILD / "drift"


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(committed: Path, fresh: Path) -> list[str]:
    """What is missing, left over or different in the committed folder."""
    old, new = files(committed), files(fresh)
    name = committed.relative_to(ROOT) if committed.is_relative_to(ROOT) else committed
    return [
        f"{name}/{path}: " + ("not committed" if path not in old else "left over" if path not in new else "different")
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def found() -> list[str]:
    """Everything that drifted."""
    fresh = generate.emptied(FRESH)
    generate.generate(fresh / "gen", fresh / "rpcs.md")
    drifted = differences(GEN, fresh / "gen")
    if not RPC_INDEX.exists() or RPC_INDEX.read_bytes() != (fresh / "rpcs.md").read_bytes():
        drifted.append("docs/rpcs.md: different")
    return drifted


def main() -> None:
    """Prints what drifted and how to fix it."""
    drifted = found()
    if drifted:
        sys.exit("\n".join(["drift:", *drifted, "run `make proto`, look at the differences and commit them"]))
    print("drift: none")


if __name__ == "__main__":
    main()
