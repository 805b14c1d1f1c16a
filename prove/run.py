"""`make prove`: load, faults, checker. A line per promise, `.run/prove/latest.json`, and the exit status."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvloop

from harness.accounts import Accounts
from prove import promises, users, verdict
from prove.ordeal import Nemesis
from prove.plan import OWN_ENVIRONMENT, REPLICAS, Plan
from prove.promises import Promise, note
from prove.trial import conduct
from stack import preflight, registry
from stack.errors import StackError, run_command
from stack.layout import State, main_state
from stack.signals import install_signal_handlers
from stack.stack import Stack

_CALL_SECONDS = 15.0


def prove(plan: Plan) -> list[Promise]:
    """Runs everything that a plan says; reports, and returns, the promises. Raises StackError."""
    print(f"prove: seed {plan.seed} (`make prove SEED={plan.seed}` does the same again)", flush=True)
    began = time.monotonic()
    if plan.running:
        found = uvloop.run(_prove(_running(), plan))
    else:
        with _own(plan) as machine:
            note(f"a stack of its own, {REPLICAS} replicas of each service, after {time.monotonic() - began:.0f} s")
            found = uvloop.run(_prove(machine, plan))
    promises.write(plan.report, plan.seed, found)
    held = sum(promise.holds for promise in found)
    print(f"prove: {held} of {len(found)} promises hold, after {time.monotonic() - began:.0f} s; {plan.report}")
    return found


@contextmanager
def _own(plan: Plan) -> Iterator[Stack]:
    """A stack for this run; what it stored and logged stays until the next."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    ports, claim = preflight.claim_ports()
    replicas = dict.fromkeys(_service_names(), REPLICAS)
    with claim, Stack(State(plan.folder), ports, replicas=replicas, environment=OWN_ENVIRONMENT) as machine:
        yield machine


async def _prove(machine: Stack, plan: Plan) -> list[Promise]:
    with httpx.Client(base_url=machine.gateway_url, timeout=_CALL_SECONDS) as http:
        accounts = Accounts(http)
        ordeal = Nemesis(machine, plan, accounts, await users.sign_up(accounts, plan.logouts))
        trial = await conduct(machine, plan, http, ordeal)
    found = []
    for promise in verdict.promises(trial, ordeal):
        promises.show(promise)
        found.append(promise)
    return found


def _service_names() -> list[str]:
    return list(registry.load().services)


def _running() -> Stack:
    """The stack of `make up`, when it is fit for a rolling restart."""
    machine = Stack.running(main_state())
    advice = f"`make down`, then `make up REPLICAS={','.join(f'{name}={REPLICAS}' for name in _service_names())}`"
    if machine is None:
        raise StackError("no stack runs", advice=advice)
    for service in machine.services:
        if len(machine.replicas_of(service.name)) < REPLICAS:
            raise StackError(f"{service.name} has one replica; a rolling restart needs {REPLICAS}", advice=advice)
    return machine


def main() -> None:
    """Proves what the environment asks for; ends with status 1 when a promise does not hold."""
    install_signal_handlers()
    if not all(promise.holds for promise in prove(Plan.from_environment())):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
