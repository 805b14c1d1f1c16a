"""Paths, for the tools that run from a checkout."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
GEN = ROOT / "gen"
PROTOS = ROOT / "protos"
PROTO_DEPS = BUILD / "proto-deps"
IMAGE = BUILD / "image.binpb"
RPC_INDEX = ROOT / "docs" / "rpcs.md"
# Beside the interpreter, not its target: a virtual environment's python is a link out of it.
VENV_BIN = Path(sys.executable).parent
BUF = VENV_BIN / "buf"
