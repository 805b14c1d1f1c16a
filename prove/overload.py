"""Overload: several times what a service can do, through the gateway and straight at it; what is too much is refused.

The flood and the service share the machine's cores, so goodput is compared with what the service reaches beside the
same excess sent to a sink.
"""

import asyncio
import json
import math
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import grpc
import httpx
import psycopg
from focusmesh.todo.v1 import task_service_pb2 as pb
from grpc_health.v1 import health_pb2

from harness.accounts import Accounts, User
from prove.flood import OK, Flood, Outcome, Request
from prove.plan import Plan
from prove.promises import Promise, note
from prove.users import sign_up
from stack.database import MAIN
from stack.errors import StackError
from stack.layout import LOOPBACK, ROOT
from stack.stack import Stack

CREATE, LIST = "create", "list"
GATEWAY, DIRECT = "through the gateway", "straight to the service"
GOODPUT = 0.8
"""Of the peak."""
REFUSED_SECONDS, HEALTH_SECONDS, RECOVERY_SECONDS = 0.25, 0.5, 1.0
REFUSALS = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "429", "503"})
CANCELLED = "CANCELLED"
"""What gRPC itself says of calls that a service cannot take up; the gateway lets none get there (ADR 30)."""
_USERS, _TASKS, _PAGE = 24, 50, 50
_DEADLINE = 5.0
_PEAK_IN_FLIGHT = 32
_CONNECTIONS = {GATEWAY: 96, DIRECT: 16}
_SINK_PORT = 95
"""Counted from the base of the stack's ports."""
_HEALTH_EVERY, _HEALTH_TIMEOUT = 0.25, 3.0
_SERVICE = "/focusmesh.todo.v1.TaskService/"
_TITLE, _DESCRIPTION = "Write the weekly report", "lorem ipsum " * 8


class Case(NamedTuple):
    """What is sent, and where."""

    operation: str
    way: str


def refusals(case: Case) -> frozenset[str]:
    """The codes of calls that were refused."""
    return REFUSALS | {CANCELLED} if case.way == DIRECT else REFUSALS


CASES = tuple(Case(operation, way) for operation in (CREATE, LIST) for way in (GATEWAY, DIRECT))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One case: what was sent, what became of it, and how others fared meanwhile."""

    case: Case
    capacity: float
    """Successes a second, the service alone with the callers."""
    peak: float
    """The same beside the excess that a sink takes."""
    sent: float
    """Calls a second."""
    late: float
    """Seconds that they were sent late, at the 99th percentile."""
    goodput: float
    """Successes a second within the callers' deadline."""
    codes: dict[str, int]
    took: dict[str, tuple[float, float]]
    """Seconds of each code, p50 and p99."""
    refused_p99: float
    without_retry: int
    """Refusals that do not say when to try again."""
    health: dict[str, float]
    """Seconds of the slowest health check of the service and the gateway; infinite when one failed."""
    first_success: float
    """Seconds after the load; -1 for none."""
    unacknowledged: int
    """Tasks made for callers who never heard of it."""

    def promise(self) -> Promise:
        """What must hold."""
        slowest = max(self.health.values())
        return Promise.unless(
            list(self.violations()),
            f"overload is refused: {self.case.operation} {self.case.way}",
            f"{self.sent:.0f}/s sent, {self.goodput:.0f}/s of {self.peak:.0f}/s done, refused in"
            f" {self.refused_p99 * 1000:.0f} ms (p99), health {slowest * 1000:.0f} ms, first success after"
            f" {self.first_success:.2f} s",
        )

    def violations(self) -> Sequence[str]:
        """Everything that does not hold."""
        bad = {code: number for code, number in self.codes.items() if code not in {OK, *refusals(self.case)}}
        rules = (
            (self.goodput >= GOODPUT * self.peak, f"goodput is {self.goodput / self.peak:.0%} of the peak"),
            (not bad, f"neither done nor refused: {bad}"),
            (self.refused_p99 <= REFUSED_SECONDS, f"refusals take {self.refused_p99:.2f} s at p99"),
            (not self.without_retry, f"{self.without_retry} refusals do not say when to try again"),
            *(
                (took <= HEALTH_SECONDS, f"a health check of the {name} took {took:.2f} s")
                for name, took in self.health.items()
            ),
            (0 <= self.first_success <= RECOVERY_SECONDS, f"first success {self.first_success:.2f} s after the load"),
            (not self.unacknowledged, f"{self.unacknowledged} tasks were made for callers who had gone"),
        )
        return [complaint for holds, complaint in rules if not holds]


async def prove(stack: Stack, plan: Plan, http: httpx.Client, cases: Sequence[Case] = CASES) -> list[Promise]:
    """Overloads todo in every way; returns what holds."""
    accounts = Accounts(http)
    users = await sign_up(accounts, _USERS)
    await asyncio.gather(*(asyncio.to_thread(_fill, http, user) for user in users))
    found = []
    async with _program("prove.flood") as flood, _program("prove.sink", str(stack.ports.base + _SINK_PORT)):
        for case in cases:
            users = [await asyncio.to_thread(accounts.sign_in, user) for user in users]
            found.append(await _measure(stack, plan, flood, case, users))
            _show(found[-1])
    path = plan.report.with_name("overload.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    return [each.promise() for each in found]


def _fill(http: httpx.Client, user: User) -> None:
    """Gives a user a page of tasks."""
    tasks = [{"title": f"{_TITLE} {number}", "description": _DESCRIPTION} for number in range(_TASKS)]
    headers = {"authorization": f"Bearer {user.token}"}
    response = http.post("/v1/tasks:batchCreate", json={"requests": tasks}, headers=headers)
    if not response.is_success:
        raise StackError(f"batchCreate: {response.status_code} {response.text}", advice="`make logs S=todo-0`")


async def _measure(
    stack: Stack, plan: Plan, process: asyncio.subprocess.Process, case: Case, users: Sequence[User]
) -> Measured:
    todo = f"{LOOPBACK}:{stack.replicas_of('todo')[0].port(stack.ports)}"
    target = stack.gateway_target if case.way == GATEWAY else todo
    flood = Flood(
        target=target,
        requests=[request for user in users for request in _requests(case, user, target)],
        in_flight=_PEAK_IN_FLIGHT,
        seconds=plan.overload_probe_seconds,
        deadline=_DEADLINE,
        connections=8,
    )
    note(f"overload: {case.operation} {case.way}")
    capacity = _goodput((await _send(process, flood))[0], flood.seconds)
    excess = replace(
        flood,
        target=f"{LOOPBACK}:{stack.ports.base + _SINK_PORT}",
        in_flight=0,
        rate=(plan.overload_factor - 1) * capacity,
        connections=_CONNECTIONS[DIRECT],
    )
    peak = _goodput((await _send(process, flood, excess))[0], flood.seconds)
    load = replace(
        flood,
        in_flight=0,
        rate=plan.overload_factor * capacity,
        seconds=plan.overload_seconds,
        connections=_CONNECTIONS[case.way],
    )
    before = await asyncio.to_thread(_tasks_of, stack, users)
    async with _health(stack, todo) as slowest:
        outcome = (await _send(process, load))[0]
    made = await asyncio.to_thread(_tasks_of, stack, users) - before
    acknowledged = sum(code == OK for _, _, code, _ in outcome.calls) if case.operation == CREATE else 0
    return measured(case, outcome, load, capacity, peak, slowest, made - acknowledged)


def measured(
    case: Case,
    outcome: Outcome,
    load: Flood,
    capacity: float,
    peak: float,
    health: dict[str, float],
    unacknowledged: int,
) -> Measured:
    """What a flood's outcome shows. unacknowledged: as in `Measured`."""
    during = [call for call in outcome.calls if call[0] <= load.seconds]
    codes = Counter(code for _, _, code, _ in during)
    refused = [(took, retry or code == CANCELLED) for _, took, code, retry in during if code in refusals(case)]
    return Measured(
        case=case,
        capacity=capacity,
        peak=peak,
        sent=len(during) / load.seconds,
        late=outcome.late,
        goodput=_goodput(outcome, load.seconds),
        codes=dict(codes),
        took={code: _percentiles([took for _, took, one, _ in during if one == code]) for code in codes},
        refused_p99=_percentiles([took for took, _ in refused])[1],
        without_retry=sum(not retry for _, retry in refused),
        health=health,
        first_success=outcome.first_success,
        unacknowledged=unacknowledged,
    )


def _goodput(outcome: Outcome, seconds: float) -> float:
    """Successes a second until the load ends; what succeeds after the callers' deadline is none, they have gone.

    What was still queued then is done by a service that has nothing else to do: it says nothing of its pace.
    """
    return sum(code == OK and due + took <= seconds for due, took, code, _ in outcome.calls) / seconds


def _percentiles(values: list[float]) -> tuple[float, float]:
    ascending = sorted(values) or [0.0]
    return ascending[len(ascending) // 2], ascending[math.ceil(0.99 * len(ascending)) - 1]


def _show(measured: Measured) -> None:
    shares = ", ".join(
        f"{number / sum(measured.codes.values()):.0%} {code} (p50 {measured.took[code][0] * 1000:.0f} ms,"
        f" p99 {measured.took[code][1] * 1000:.0f} ms)"
        for code, number in Counter(measured.codes).most_common()
    )
    note(
        f"alone {measured.capacity:.0f}/s, beside the sink {measured.peak:.0f}/s; {measured.sent:.0f}/s sent,"
        f" {measured.late * 1000:.0f} ms late: {shares}"
    )


def _requests(case: Case, user: User, target: str) -> list[Request]:
    """A call by gRPC, and through the gateway one by REST too."""
    both = [_grpc(case.operation, user, target)]
    return [*both, _rest(case.operation, user, target)] if case.way == GATEWAY else both


def _grpc(operation: str, user: User, target: str) -> Request:
    create = operation == CREATE
    message = pb.CreateTaskRequest(title=_TITLE, description=_DESCRIPTION) if create else None
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": _SERVICE + ("CreateTask" if create else "ListTasks"),
        ":authority": target,
        "content-type": "application/grpc",
        "te": "trailers",
        "grpc-timeout": f"{_DEADLINE:.0f}S",
        "authorization": f"Bearer {user.token}",
    }
    body = (message or pb.ListTasksRequest(page_size=_PAGE)).SerializeToString()
    return Request(headers, body.hex(), b"\x0a\x24".hex() if create else "")


def _rest(operation: str, user: User, target: str) -> Request:
    create = operation == CREATE
    headers = {
        ":method": "POST" if create else "GET",
        ":scheme": "http",
        ":path": "/v1/tasks" if create else f"/v1/tasks?pageSize={_PAGE}",
        ":authority": target,
        "authorization": f"Bearer {user.token}",
        **({"content-type": "application/json"} if create else {}),
    }
    rest = json.dumps({"title": _TITLE, "description": _DESCRIPTION})[1:]
    return Request(headers, f'", {rest}'.encode().hex() if create else "", b'{"requestId": "'.hex() if create else "")


async def _send(process: asyncio.subprocess.Process, *floods: Flood) -> list[Outcome]:
    """Has the flood's process send; raises StackError when it ends."""
    assert process.stdin is not None  # noqa: S101 (for the type checker)
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(json.dumps([asdict(flood) for flood in floods]).encode() + b"\n")
    line = await process.stdout.readline()
    if not line:
        raise StackError("the flood ended", advice="the lines above say why")
    return [Outcome(**each) for each in json.loads(line)]


@asynccontextmanager
async def _program(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A module of this repository as a process, until the context ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module, *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 28,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _health(stack: Stack, todo: str) -> AsyncIterator[dict[str, float]]:
    """Asks the service and the gateway for their health meanwhile; the slowest answer of each, in seconds."""
    slowest: dict[str, float] = {}
    async with grpc.aio.insecure_channel(todo) as channel, httpx.AsyncClient(timeout=_HEALTH_TIMEOUT) as http:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

        async def of_service() -> bool:
            response = await check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT)
            return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

        async def of_gateway() -> bool:
            return (await http.get(f"{stack.gateway_url}/healthz")).is_success

        async with asking(slowest, {"service": of_service, "gateway": of_gateway}):
            yield slowest


@asynccontextmanager
async def asking(
    slowest: dict[str, float], checks: Mapping[str, Callable[[], Awaitable[bool]]], every: float = _HEALTH_EVERY
) -> AsyncIterator[None]:
    """Makes each check again and again; keeps the slowest answer of each, in seconds.

    One that has no answer at the end counts with the time that it has waited. every: seconds between two.
    """

    async def ask(name: str, healthy: Callable[[], Awaitable[bool]]) -> None:
        while True:
            began = time.monotonic()
            took = math.inf
            try:
                if await healthy():
                    took = time.monotonic() - began
            except asyncio.CancelledError:
                took = time.monotonic() - began
                raise
            except (grpc.aio.AioRpcError, httpx.HTTPError):
                pass
            finally:
                slowest[name] = max(slowest.get(name, 0.0), took)
            await asyncio.sleep(every)

    tasks = [asyncio.create_task(ask(name, healthy)) for name, healthy in checks.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tasks_of(stack: Stack, users: Sequence[User]) -> int:
    """How many tasks the users have, past the service."""
    with psycopg.connect(stack.cluster.administrator_url(MAIN)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM todo.tasks WHERE user_id = ANY(%s::uuid[])", ([user.id for user in users],)
        ).fetchone()
    return int(row[0]) if row else 0
