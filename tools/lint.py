"""Every check that needs no running component: `make lint`.

All of them run, whatever fails; the failures are shown whole at the end. `make lint C=mypy` runs one.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from tools import generate
from tools.paths import GEN, ROOT, VENV_BIN

AT_ONCE = 2
TYPED = ("contract", "mesh", "services", "stack", "envoy", "tools", "bench", "prove", "harness")


class Check(NamedTuple):
    """A check: its name and its command."""

    name: str
    command: tuple[str, ...]


def tool(name: str, *arguments: str) -> tuple[str, ...]:
    """A command of the virtual environment."""
    return (str(VENV_BIN / name), *arguments)


def ours(module: str, *arguments: str) -> tuple[str, ...]:
    """A check of this repository."""
    return (sys.executable, "-m", module, *arguments)


# The slowest first, so that it does not run alone at the end.
CHECKS = (
    Check("mypy", tool("mypy", *(option for folder in TYPED for option in ("-p", folder)))),
    Check("drift", ours("tools.drift")),
    Check("gateway", ours("envoy.validate")),
    Check("breaking", ours("tools.breaking")),
    Check("imports", tool("lint-imports", "--no-cache")),
    Check("buf-lint", tool("buf", "lint")),
    Check("buf-format", tool("buf", "format", "protos", "--diff", "--exit-code")),
    Check("contract", ours("tools.contract_check")),
    Check("ruff", tool("ruff", "check")),
    Check("ruff-format", tool("ruff", "format", "--check")),
    Check("size", ours("tools.size_budget")),
    Check("documents", ours("tools.doc_paths")),
)


class Outcome(NamedTuple):
    """How a check ended."""

    name: str
    failed: bool
    seconds: float
    output: str


def outcome(check: Check) -> Outcome:
    """Runs a check."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{GEN / 'python'}", "NO_COLOR": "1"}
    started = time.monotonic()
    done = subprocess.run(check.command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return Outcome(check.name, done.returncode != 0, time.monotonic() - started, f"{done.stdout}{done.stderr}".strip())


def report(done: Outcome) -> None:
    """Prints one line per check, with the last line of its output."""
    last = "" if done.failed else done.output.splitlines()[-1] if done.output else ""
    print(f"{'FAILED' if done.failed else 'ok':>6} {done.seconds:5.1f} s  {done.name:<12} {last}"[:120], flush=True)


def main(names: list[str]) -> None:
    """Runs the named checks, or all; exits with the failures."""
    unknown = set(names) - {check.name for check in CHECKS}
    if unknown:
        sys.exit(f"lint: no check is called {', '.join(sorted(unknown))}")
    generate.build_image()
    chosen = [check for check in CHECKS if not names or check.name in names]
    failures = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for running in as_completed([pool.submit(outcome, check) for check in chosen]):
            done = running.result()
            report(done)
            if done.failed:
                failures.append(done)
    for failure in failures:
        print(f"\n--- {failure.name}\n{failure.output}")
    if failures:
        sys.exit(f"\nlint: {len(failures)} of {len(chosen)} checks failed: {', '.join(f.name for f in failures)}")
    print(f"lint: {len(chosen)} checks passed")


if __name__ == "__main__":
    main(sys.argv[1:])
