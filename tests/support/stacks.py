"""Stacks that a test run starts, with state and ports of their own."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stack import preflight
from stack.layout import RUN, State
from stack.stack import Stack

_AT_ONCE = {"FOCUSMESH_DRAIN_SECONDS": "0"}
"""Nobody has to notice that a service of a test's stack stops."""


@contextmanager
def started(name: str, *, environment: Mapping[str, str] = _AT_ONCE, **options: Any) -> Iterator[Stack]:
    """A stack of this run; its state goes with it."""
    state = State(RUN / f"test-{os.getpid()}-{name}")
    ports, claim = preflight.claim_ports()
    try:
        with Stack(state, ports, environment={**_AT_ONCE, **environment}, **options) as stack:
            yield stack
    finally:
        claim.close()
        shutil.rmtree(state.folder, ignore_errors=True)
