"""Commit to effect: how long after its creation a task is in the audit log, and on its owner's open WebSocket.

Creates come at a fixed pace (an open loop) through the gateway. The clock starts with the
task's `create_time`, which the service reads before it writes, and stops when the row is seen in the audit schema, or
the frame has arrived here: the same clock, on one machine. So the figures contain the commit itself.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc
import psycopg
import uvloop
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from websockets.asyncio.client import ClientConnection, connect

from bench.accounts import Account
from bench.load import percentile
from harness.waiting import until

_POLL_SECONDS = 0.004
"""Polling more often would take a tenth of the CPU; what is seen late counts as late."""
_LAST_SECONDS = 20.0
_WARM_SECONDS = 1.0
_SEEN = """
    SELECT task_id::text, owner::text, chain_position
    FROM unnest(%s::uuid[], %s::integer[]) AS after (owner, position) CROSS JOIN LATERAL (
        SELECT task_id, chain_position FROM audit.audit_records
        WHERE user_id = owner AND chain_position > position ORDER BY chain_position LIMIT 1000) AS new"""
"""By index, whatever the planner knows of a table that has just grown."""


class Delivery(NamedTuple):
    """What was seen at one pace; milliseconds."""

    per_second: int
    tasks: int
    achieved_per_second: float
    audit_p50_ms: float
    audit_p99_ms: float
    websocket_p50_ms: float
    websocket_p99_ms: float


class _Watch:
    """When tasks were created, and when each effect was seen; seconds since the epoch by task id."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.accounts = accounts
        self.created: dict[str, float] = {}
        self.audited: dict[str, float] = {}
        self.received: dict[str, float] = {}
        self.positions = {account.user_id: 0 for account in accounts}

    async def audit(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        """Notes audit records as they appear."""
        while True:
            cursor = await connection.execute(_SEEN, (list(self.positions), list(self.positions.values())), binary=True)
            rows = await cursor.fetchall()
            now = time.time()
            for task_id, user_id, position in rows:
                self.audited[task_id] = now
                self.positions[user_id] = max(self.positions[user_id], position)
            await asyncio.sleep(_POLL_SECONDS)

    async def socket(self, websocket: ClientConnection) -> None:
        """Notes frames as they arrive."""
        async for message in websocket:
            now = time.time()
            frame = json.loads(message)
            if "change" in frame:
                self.received[frame["change"]["subjectId"]] = now

    def complete(self) -> bool:
        """Whether every effect of every task was seen."""
        return self.created.keys() <= self.audited.keys() and self.created.keys() <= self.received.keys()


def measure(
    accounts: Sequence[Account], gateway: str, administrator_url: str, paces: Sequence[int], seconds: float
) -> list[Delivery]:
    """One Delivery for each pace. Raises StackError when an effect does not come at all."""
    return uvloop.run(_measure(accounts, gateway, administrator_url, paces, seconds))


async def _measure(
    accounts: Sequence[Account], gateway: str, administrator_url: str, paces: Sequence[int], seconds: float
) -> list[Delivery]:
    watch = _Watch(accounts)
    # Planned once: planning would cost more CPU than the query.
    observer = await psycopg.AsyncConnection.connect(
        administrator_url, autocommit=True, options="-c plan_cache_mode=force_generic_plan"
    )
    sockets = [
        await connect(f"ws://{gateway}/v1/realtime", additional_headers=dict([_bearer(account)]), max_queue=None)
        for account in accounts
    ]
    watching = [
        asyncio.create_task(watch.audit(observer)),
        *(asyncio.create_task(watch.socket(websocket)) for websocket in sockets),
    ]
    try:
        async with grpc.aio.insecure_channel(gateway) as channel:
            stub = rpc.TaskServiceStub(channel)
            await _create(watch, stub, paces[0], _WARM_SECONDS)
            return [await _at_pace(watch, stub, pace, seconds) for pace in paces]
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await asyncio.gather(*(websocket.close() for websocket in sockets), observer.close())


async def _at_pace(watch: _Watch, stub: rpc.TaskServiceStub, pace: int, seconds: float) -> Delivery:
    for seen in (watch.created, watch.audited, watch.received):
        seen.clear()
    took = await _create(watch, stub, pace, seconds)
    await until(
        watch.complete,
        f"every one of {len(watch.created)} tasks is audited and received",
        _LAST_SECONDS,
        poll=_POLL_SECONDS,
        advice="`make logs S=audit-0`, `make logs S=realtime-0`",
    )
    audit, websocket = (
        sorted((seen[task] - created) * 1000 for task, created in watch.created.items())
        for seen in (watch.audited, watch.received)
    )
    return Delivery(
        pace,
        len(watch.created),
        len(watch.created) / took,
        *(percentile(audit, 0.50), percentile(audit, 0.99), percentile(websocket, 0.50), percentile(websocket, 0.99)),
    )


async def _create(watch: _Watch, stub: rpc.TaskServiceStub, pace: int, seconds: float) -> float:
    """Sends creates at the pace, one user after the other; returns how long it took until the last response."""
    metadata = [(_bearer(account),) for account in watch.accounts]

    async def create(number: int) -> None:
        response = await stub.CreateTask(
            pb.CreateTaskRequest(title=f"Task {number}"), metadata=metadata[number % len(metadata)], timeout=10
        )
        instant = response.task.create_time
        watch.created[response.task.id] = instant.seconds + instant.nanos / 1e9

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(pace * seconds)):
            await asyncio.sleep(max(0.0, began + number / pace - time.monotonic()))
            group.create_task(create(number))
    return time.monotonic() - began


def _bearer(account: Account) -> tuple[str, str]:
    return "authorization", f"Bearer {account.token}"
