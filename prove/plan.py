"""How much is proven, and against what: read from the environment of `make prove`."""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stack.errors import StackError
from stack.layout import RUN

_FOLDER = RUN / "prove"
REPLICAS = 2
_GENEROUS = "1000000 then 1000000/s"
OWN_ENVIRONMENT = {
    f"FOCUSMESH_GATEWAY_RATE_{name}": _GENEROUS for name in ("ADDRESS", "CREDENTIAL", "READ", "WRITE", "STREAM")
}
"""One address stands for all users here: the gateway's allowances are another proof's."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run."""

    seed: int
    running: bool
    """Against the stack of `make up`; otherwise against one of its own, which is stopped afterwards."""
    rate: float
    """Requests a second."""
    users: int
    subscribers: int
    interval_seconds: float
    """Between two faults."""
    settle_seconds: float
    """How long effects may take to arrive after the load."""
    recovery_seconds: float
    """Between the last fault and the first restart."""
    at_once: int
    """Services that are restarted side by side; each still one replica after the other."""
    logouts: int
    intervals: int
    """Sessions whose intervals end within one second."""
    folder: Path = _FOLDER / "stack"
    """State of its own stack."""
    report: Path = _FOLDER / "latest.json"
    """For scripts."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """QUICK=1, RUNNING=1, SEED=n, RATE=requests a second (200; running 100; quick 60). Raises StackError."""
        quick, running = (environment.get(name, "") not in ("", "0") for name in ("QUICK", "RUNNING"))
        seed = environment.get("SEED") or str(random.SystemRandom().randrange(10**9))
        # Behind the everyday allowances of `make up`, all users here share one address.
        rate = environment.get("RATE") or ("60" if quick else "100" if running else "200")
        if not seed.isdecimal() or not rate.isdecimal() or int(rate) < 1:
            raise StackError(f"SEED={seed} RATE={rate} are not whole numbers", advice="`make prove SEED=1 RATE=200`")
        return cls(
            seed=int(seed),
            running=running,
            rate=float(rate),
            users=8 if running else 24,
            subscribers=8,
            interval_seconds=1.5 if quick else 5.0,
            settle_seconds=30.0 if quick else 60.0,
            recovery_seconds=6.0 if quick else 12.0,
            at_once=3 if quick else 1,
            logouts=2 if quick else 5,
            intervals=200 if quick else 2000,
        )
