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
_RATES = ("ADDRESS", "CREDENTIAL", "SESSION", "READ", "WRITE", "EXPENSIVE", "STREAM")
CALLABLE_HOST = "127.0.0.2"
"""Where webhooks of proofs may be; the rest of loopback may not be called."""
OWN_ENVIRONMENT = {
    # One address stands for all users here: the gateway's allowances are another proof's.
    **{f"FOCUSMESH_GATEWAY_RATE_{name}": _GENEROUS for name in _RATES},
    "FOCUSMESH_OUTGOING_ALLOWED_NETWORKS": f"{CALLABLE_HOST}/32",
    # Longer than any attempt of the proofs: a message of a replica that is killed is sent again soon.
    "FOCUSMESH_LEASE_SECONDS": "15",
}
LOAD, INTERVALS, OUTAGES, REMINDERS = "load", "intervals", "outages", "reminders"
OVERLOAD, NEIGHBOURS = "overload", "neighbours"
_PARTS = (LOAD, INTERVALS, OUTAGES, REMINDERS, OVERLOAD, NEIGHBOURS)
_NEED_THEIR_OWN_STACK = (OUTAGES, OVERLOAD, NEIGHBOURS)
"""`make up` has everyday allowances, and calls no receiver of webhooks here."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run."""

    seed: int
    parts: frozenset[str]
    """What is proven: all, or what `ONLY` names."""
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
    reminders: int
    """Reminders that are due within `reminder_seconds`."""
    reminder_seconds: float
    """How late one may arrive, at the 99th percentile."""
    outage_users: int
    """Whose mails the mail server fails."""
    outage_waves: int
    """Reminders of each of them while it is away."""
    away_seconds: float
    """How long the mail server is away."""
    slow_seconds: float
    """How long it takes for a mail afterwards."""
    webhook_users: int
    """Each with receivers that fail in every way."""
    server_errors: int
    """How often a receiver responds with 500."""
    outage_settle_seconds: float
    """How long retries may take afterwards."""
    overload_factor: float
    """Times what the service can do."""
    overload_seconds: float
    overload_probe_seconds: float
    """How long it is measured what the service can do."""
    rpc: str
    """Of the RPCs only those with this in their full name are attacked."""
    attacked: int
    """RPCs that the hostile neighbour attacks; all when there are fewer."""
    attack_seconds: float
    """For how long each of them."""
    hostile_tasks: int
    """Tasks that the hostile neighbour has: fewer than a user may have, so that its batches find room."""
    folder: Path = _FOLDER / "stack"
    """State of its own stack."""
    report: Path = _FOLDER / "latest.json"
    """For scripts."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """QUICK=1, RUNNING=1, SEED=n, RATE=requests a second (200; running 100; quick 60), ONLY=a part of it,
        RPC=part of a name.

        Raises StackError.
        """
        quick, running = (environment.get(name, "") not in ("", "0") for name in ("QUICK", "RUNNING"))
        seed = environment.get("SEED") or str(random.SystemRandom().randrange(10**9))
        # Behind the everyday allowances of `make up`, all users here share one address.
        rate = environment.get("RATE") or ("60" if quick else "100" if running else "200")
        if not seed.isdecimal() or not rate.isdecimal() or int(rate) < 1:
            raise StackError(f"SEED={seed} RATE={rate} are not whole numbers", advice="`make prove SEED=1 RATE=200`")
        only = environment.get("ONLY", "")
        if only and only not in _PARTS:
            raise StackError(
                f"ONLY={only} is no part of it", advice=f"`make prove ONLY={_PARTS[-1]}`; {', '.join(_PARTS)}"
            )
        if running and only in _NEED_THEIR_OWN_STACK:
            raise StackError("this part needs a stack of its own", advice=f"`make prove ONLY={only}`")
        return cls(
            parts=frozenset([only] if only else set(_PARTS) - {OVERLOAD, NEIGHBOURS}),
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
            reminders=500 if quick else 10_000,
            reminder_seconds=4.0 if quick else 60.0,
            outage_users=4 if quick else 24,
            outage_waves=2 if quick else 6,
            away_seconds=3.0 if quick else 300.0,
            slow_seconds=0.5 if quick else 3.0,
            webhook_users=2 if quick else 8,
            server_errors=1 if quick else 2,
            rpc=environment.get("RPC", ""),
            attacked=12 if quick else 1000,
            attack_seconds=1.0 if quick else 3.0,
            hostile_tasks=2_000 if quick else 90_000,
            outage_settle_seconds=30.0 if quick else 400.0,
            overload_factor=2.0 if quick else 5.0,
            overload_seconds=8.0 if quick else 20.0,
            overload_probe_seconds=2.0 if quick else 6.0,
        )
