"""`make fuzz`: Schemathesis makes requests of the OpenAPI document, right and wrong ones, and judges the responses.

    make fuzz                    ten minutes against a stack of its own; QUICK=1 one minute, SECONDS=n another time
    make fuzz RUNNING=1          against the stack of `make up`, whose allowances slow it down
    make fuzz ONLY=TaskService   operations with this tag, or with one of several (A,B); SEED=n the same requests again

Fails when a response is a 5xx or off the document, or when a request that breaks its schema is accepted. What it found
is in `.run/fuzz`; each failure is printed with the line that sends its request again.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from envoy.settings import Allowances
from harness.accounts import PASSWORD, Accounts
from stack import preflight
from stack.errors import StackError, run_command
from stack.layout import ROOT, RUN, State, main_state
from stack.signals import install_signal_handlers
from stack.stack import Stack

LOGIN = ("FUZZ_EMAIL", "FUZZ_PASSWORD")
"""Variables from which the configuration reads the account."""
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
_FOLDER = RUN / "fuzz"
_DOCUMENT = ROOT / "gen" / "openapi" / "openapi.yaml"
_SECONDS, _QUICK_SECONDS = 600, 60
_ENVIRONMENT = {
    # One address and one account send everything.
    **{f"FOCUSMESH_GATEWAY_RATE_{name.upper()}": "1000000 then 1000000/s" for name in Allowances._fields},
    "FOCUSMESH_GUESTS_PER_NETWORK": "1000000",
}


@dataclass(frozen=True)
class Plan:
    """One run."""

    seconds: int
    running: bool
    tags: tuple[str, ...]
    """Only operations with one of them; empty for all."""
    seed: str
    """Empty for a random one."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises StackError when SECONDS or SEED is no number."""
        quick, running = (environment.get(name, "") not in ("", "0") for name in ("QUICK", "RUNNING"))
        seconds = environment.get("SECONDS") or str(_QUICK_SECONDS if quick else _SECONDS)
        seed = environment.get("SEED", "")
        if not seconds.isdecimal() or int(seconds) < 1 or not (seed or "0").isdecimal():
            raise StackError(f"SECONDS={seconds} SEED={seed} are not whole numbers", advice="`make fuzz SECONDS=60`")
        return cls(int(seconds), running, tuple(filter(None, environment.get("ONLY", "").split(","))), seed)

    def command(self, url: str) -> list[str]:
        """What starts Schemathesis against a gateway."""
        options = {
            "--url": url,
            "--max-time": str(self.seconds),
            "--report": "json,ndjson",
            "--report-dir": str(_FOLDER),
            "--report-json-path": str(_FOLDER / "latest.json"),
            **({"--seed": self.seed} if self.seed else {}),
        }
        chosen = [("--include-tag", tag) for tag in self.tags]
        given = [word for option in (*options.items(), *chosen) for word in option]
        schemathesis = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)]
        return [*schemathesis, "run", str(_DOCUMENT), *given]


def fuzz(plan: Plan) -> bool:
    """Runs Schemathesis and shows what it says; returns whether it found nothing. Raises StackError."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    (_FOLDER / "latest.json").unlink(missing_ok=True)
    with _stack(plan) as stack, httpx.Client(base_url=stack.gateway_url, timeout=15) as http:
        login = dict(zip(LOGIN, (Accounts(http).register().email, PASSWORD), strict=True))
        environment = {**os.environ, **login}
        done = subprocess.run(plan.command(stack.gateway_url), env=environment, cwd=_FOLDER, check=False)  # noqa: S603
    if not (_FOLDER / "latest.json").exists():
        raise StackError("Schemathesis did not come to its end", advice="look at what it says above")
    report = json.loads((_FOLDER / "latest.json").read_text())
    print(summary(report))
    return done.returncode == 0


def summary(report: Mapping[str, Any]) -> str:
    """A line for people of a report of Schemathesis, and one for each kind of failure."""
    cases, operations = report["test_cases"], report["operations"]
    kinds = [
        f"  {found['count']} of {found['title']}: {', '.join(found['operations'])}" for found in report["failures"]
    ]
    head = (
        f"fuzz: {cases['generated']} requests to {operations['tested']} operations in {report['running_time']:.0f} s, "
        f"{cases['with_failures']} with failures; seed {report['seed']}"
    )
    return "\n".join([head, *kinds])


@contextmanager
def _stack(plan: Plan) -> Iterator[Stack]:
    if plan.running:
        stack = Stack.running(main_state())
        if stack is None:
            raise StackError("no stack runs", advice="`make up`, or `make fuzz` without RUNNING")
        yield stack
        return
    shutil.rmtree(_FOLDER / "stack", ignore_errors=True)
    ports, claim = preflight.claim_ports()
    with claim, Stack(State(_FOLDER / "stack"), ports, environment=_ENVIRONMENT) as stack:
        yield stack


def main() -> None:
    """Ends with status 1 when something was found."""
    install_signal_handlers()
    if not fuzz(Plan.from_environment()):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
