"""Stacks that a test run starts, with state and ports of their own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stack import preflight
from stack.layout import RUN, State
from stack.stack import Stack


@contextmanager
def started(name: str, **options: Any) -> Iterator[Stack]:
    """A stack of this run; its state goes with it."""
    state = State(RUN / f"test-{os.getpid()}-{name}")
    ports, claim = preflight.claim_ports()
    try:
        with Stack(state, ports, **options) as stack:
            yield stack
    finally:
        claim.close()
        shutil.rmtree(state.folder, ignore_errors=True)
