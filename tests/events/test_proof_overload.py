"""The proof of overload: a server that lets its callers wait is caught, and each broken rule is named."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf

import grpc
import pytest

from mesh.rpc.status import abort
from mesh.runtime.errors import Overloaded
from prove import flood, overload
from prove.flood import GAVE_UP, OK, Flood, Outcome, Request
from prove.overload import CREATE, DIRECT, GATEWAY, Case, Measured
from tests.support.ports import LOOPBACK, free_ports

_PATH = "/focusmesh.todo.v1.TaskService/CreateTask"
_AT_ONCE, _SECONDS = 4, 0.02
PEAK = _AT_ONCE / _SECONDS
GOOD = Measured(
    case=Case(CREATE, GATEWAY),
    capacity=300,
    peak=280,
    sent=1500,
    late=0.01,
    goodput=250,
    codes={OK: 5000, "429": 20000, "UNAVAILABLE": 5000},
    took={OK: (0.1, 0.3), "429": (0.01, 0.2), "UNAVAILABLE": (0.01, 0.2)},
    refused_p99=0.2,
    without_retry=0,
    health={"service": 0.1, "gateway": 0.2},
    first_success=0.1,
    unacknowledged=0,
)


@asynccontextmanager
async def serving(*, refuses: bool) -> AsyncIterator[str]:
    """A server of a few slow workers. refuses: calls that no worker is free for; otherwise they wait."""
    workers = asyncio.Semaphore(_AT_ONCE)

    async def work(_request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        if refuses and workers.locked():
            await abort(context, Overloaded(retry_after=0.5), "test.focusmesh")
        async with workers:
            await asyncio.sleep(_SECONDS)
        return b"done"

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(work)
    service, name = _PATH[1:].split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
    target = f"{LOOPBACK}:{free_ports(1)[0]}"
    server.add_insecure_port(target)
    await server.start()
    try:
        yield target
    finally:
        await server.stop(0)


async def flooded(target: str, rate: float) -> Measured:
    """What the proof says of a server at a rate."""
    headers = {":method": "POST", ":scheme": "http", ":path": _PATH, ":authority": target}
    request = Request({**headers, "content-type": "application/grpc", "te": "trailers", "grpc-timeout": "1S"}, "", "")
    load = Flood(target=target, requests=[request], rate=rate, seconds=2, deadline=1, connections=2)
    [outcome] = await flood.run([load])
    case = Case(CREATE, DIRECT)
    return overload.measured(case, outcome, load, PEAK, PEAK, {"service": 0.0}, 0)


async def test_a_server_that_lets_its_callers_wait_is_caught() -> None:
    async with serving(refuses=False) as target:
        found = await flooded(target, 4 * PEAK)
    assert found.codes.get(GAVE_UP, 0) + found.codes.get("DEADLINE_EXCEEDED", 0) > found.codes[OK]
    assert any(complaint.startswith("neither done nor refused") for complaint in found.violations())
    assert not found.promise().holds


async def test_what_a_server_refuses_is_told_from_what_it_does() -> None:
    async with serving(refuses=True) as target:
        found = await flooded(target, 4 * PEAK)
    assert found.codes.keys() == {OK, "RESOURCE_EXHAUSTED"}
    assert found.without_retry == 0
    assert found.first_success >= 0


def test_nothing_is_said_of_a_run_that_keeps_every_rule() -> None:
    assert GOOD.promise().holds


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (replace(GOOD, goodput=200), "goodput"),
        (replace(GOOD, codes={OK: 5000, "CANCELLED": 1}), "neither done nor refused"),
        (replace(GOOD, codes={OK: 5000, "499": 1}), "neither done nor refused"),
        (replace(GOOD, codes={OK: 5000, "504": 1}), "neither done nor refused"),
        (replace(GOOD, refused_p99=0.3), "refusals take"),
        (replace(GOOD, without_retry=1), "when to try again"),
        (replace(GOOD, health={"service": 0.1, "gateway": inf}), "health check of the gateway"),
        (replace(GOOD, first_success=1.5), "first success"),
        (replace(GOOD, first_success=-1.0), "first success"),
        (replace(GOOD, unacknowledged=1), "callers who had gone"),
    ],
)
def test_each_broken_rule_is_named(broken: Measured, said: str) -> None:
    [complaint] = broken.violations()
    assert said in complaint


def test_a_success_after_the_load_is_no_goodput() -> None:
    load = Flood(target="", requests=[], rate=1, seconds=10, deadline=5, connections=1)
    outcome = Outcome([(1.0, 0.1, OK, False), (11.0, 0.1, OK, False)], first_success=0.1)
    found = overload.measured(Case(CREATE, DIRECT), outcome, load, 1, 1, {"service": 0.0}, 0)
    assert (found.goodput, found.codes) == (0.1, {OK: 1})
