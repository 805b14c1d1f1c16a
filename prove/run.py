"""`make prove`: load, faults, checker. A line per promise, `.run/prove/latest.json`, and the exit status."""

import asyncio
import shutil
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

import httpx
import uvloop

from harness.accounts import Accounts
from prove import intervals, outages, overload, promises, reminders, users, verdict
from prove.experiment import run_load
from prove.neighbours import proof as neighbours
from prove.nemesis import Nemesis
from prove.plan import INTERVALS, LOAD, NEIGHBOURS, OUTAGES, OVERLOAD, OWN_ENVIRONMENT, REMINDERS, REPLICAS, Plan
from prove.promises import Promise, note
from stack import preflight, registry
from stack.errors import StackError, run_command
from stack.layout import State, main_state
from stack.signals import install_signal_handlers
from stack.stack import Stack

_CALL_SECONDS = 15.0
_KILLED_IN_TURN = ("pomodoro", "recurrence", "notification")


def prove(plan: Plan) -> list[Promise]:
    """Runs everything that a plan says; reports, and returns, the promises. Raises StackError."""
    print(f"prove: seed {plan.seed} (`make prove SEED={plan.seed}` does the same again)", flush=True)
    began = time.monotonic()
    found: list[Promise] = []
    if plan.running:
        found += uvloop.run(_prove(_running(), plan))
    elif plan.parts - {NEIGHBOURS}:
        with _own(plan, _replicas()) as stack:
            note(f"a stack of its own, {REPLICAS} replicas of each service, after {time.monotonic() - began:.0f} s")
            found += uvloop.run(_prove(stack, plan))
    if NEIGHBOURS in plan.parts and not plan.running:  # `make up` has everyday allowances for the address of all users
        with _own(plan, {}) as stack:
            note(f"a stack of its own, one replica of each service, after {time.monotonic() - began:.0f} s")
            found += _shown(uvloop.run(neighbours.prove(stack, plan)))
    promises.write(plan.report, plan.seed, found)
    held = sum(promise.holds for promise in found)
    print(f"prove: {held} of {len(found)} promises hold, after {time.monotonic() - began:.0f} s; {plan.report}")
    return found


def _replicas() -> dict[str, int]:
    return {**dict.fromkeys(_service_names(), REPLICAS), **dict.fromkeys(_KILLED_IN_TURN, REPLICAS + 1)}


@contextmanager
def _own(plan: Plan, replicas: dict[str, int]) -> Iterator[Stack]:
    """A stack for this run; what it stored and logged stays until the next."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    ports, claim = preflight.claim_ports()
    with claim, Stack(State(plan.folder), ports, replicas=replicas, environment=OWN_ENVIRONMENT) as stack:
        yield stack


async def _prove(stack: Stack, plan: Plan) -> list[Promise]:
    with httpx.Client(base_url=stack.gateway_url, timeout=_CALL_SECONDS) as http:
        found: list[Promise] = []
        if LOAD in plan.parts:
            found += _shown(await _under_load(stack, plan, http))
        beside: list[Coroutine[None, None, list[Promise]]] = []
        if INTERVALS in plan.parts:
            beside.append(intervals.prove(stack, plan))
        if OUTAGES in plan.parts and not plan.running:  # mostly waits for next attempts; `make up` allows no receivers
            beside.append(outages.prove(stack, plan, http))
        for some in await asyncio.gather(*beside):
            found += _shown(some)
        if REMINDERS in plan.parts:
            found += _shown(await reminders.prove(stack, plan))
        if OVERLOAD in plan.parts and not plan.running:  # the everyday allowances of `make up` refuse the load
            found += _shown(await overload.prove(stack, plan, http))
    return found


def _shown(found: list[Promise]) -> list[Promise]:
    for promise in found:
        promises.show(promise)
    return found


async def _under_load(stack: Stack, plan: Plan, http: httpx.Client) -> list[Promise]:
    accounts = Accounts(http)
    nemesis = Nemesis(stack, plan, accounts, await users.sign_up(accounts, plan.logouts))
    return list(verdict.promises(await run_load(stack, plan, http, nemesis), nemesis))


def _service_names() -> list[str]:
    return list(registry.load().services)


def _running() -> Stack:
    """The stack of `make up`, when it is fit for a rolling restart."""
    stack = Stack.running(main_state())
    advice = f"`make down`, then `make up REPLICAS={','.join(f'{name}={REPLICAS}' for name in _service_names())}`"
    if stack is None:
        raise StackError("no stack runs", advice=advice)
    for service in stack.services:
        if len(stack.replicas_of(service.name)) < REPLICAS:
            raise StackError(f"{service.name} has one replica; a rolling restart needs {REPLICAS}", advice=advice)
    return stack


def main() -> None:
    """Proves what the environment asks for; ends with status 1 when a promise does not hold, or none was made."""
    install_signal_handlers()
    if not promises.all_hold(prove(Plan.from_environment())):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
