"""Formats contracts and code, and rewrites the index of RPCs: `make fmt`."""

import sys

from tools import generate
from tools.paths import BUF, ROOT, RPC_INDEX, VENV_BIN


def main() -> None:
    """Changes files in place."""
    generate.run(BUF, "format", "protos", "--write")
    generate.run(VENV_BIN / "ruff", "check", "--fix-only", "--quiet", ROOT)
    generate.run(VENV_BIN / "ruff", "format", "--quiet", ROOT)
    generate.run(sys.executable, "-m", "tools.rpc_index", RPC_INDEX)


if __name__ == "__main__":
    main()
