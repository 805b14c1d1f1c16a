"""From a transition of a focus session to a second device of its user: by WebSocket, and by WatchFocusSession.

Alone: python -m bench.second_device [SECONDS]. Sessions are paused and resumed at a fixed pace (an open loop) through
the gateway. The clock starts with the response's `server_time`, which the service reads before it writes, and stops
when the frame has arrived here: the same clock, on one machine. Beside it, at the same pace, messages of the size of an
event go to a topic of their own and come back: what Kafka alone takes in this run.
"""

import asyncio
import json
import multiprocessing
import shutil
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import confluent_kafka
import grpc
import httpx
import uvloop
from confluent_kafka.admin import NewTopic
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.pomodoro.v1 import focus_session_service_pb2_grpc as rpc
from websockets.asyncio.client import ClientConnection, connect

from bench.accounts import Account
from bench.load import percentile
from harness.accounts import Accounts
from harness.waiting import until
from stack.errors import run_command
from stack.infrastructure import kafka
from stack.layout import RUN, State
from stack.preflight import claim_ports
from stack.stack import Stack

USERS, PER_SECOND, SECONDS = 60, 100, 20.0
"""Each session has under two transitions a second, and 300 in its life at most."""
MOST_P50_MS, MOST_P99_MS = 40.0, 250.0
"""On a machine that does nothing else (ADR 18)."""
_WARM_SECONDS, _LAST_SECONDS = 15.0, 20.0
"""A broker that has just started compiles itself for half a minute, and takes most of a core for it."""
_UNLIMITED = "1000000 then 1000000/s"
_PROBE_TOPIC, _PROBE_BYTES = "bench-probe", 2_000
_PLAN: dict[str, Any] = {
    "focus_minutes": 180,
    "short_break_minutes": 5,
    "long_break_minutes": 15,
    "long_break_interval": 4,
}


class Reach(NamedTuple):
    """What was seen; milliseconds."""

    transitions: int
    achieved_per_second: float
    websocket_p50_ms: float
    websocket_p99_ms: float
    watch_p50_ms: float
    watch_p99_ms: float
    kafka_p50_ms: float
    kafka_p99_ms: float

    @property
    def holds(self) -> bool:
        """Whether the limits are kept."""
        p50, p99 = max(self.websocket_p50_ms, self.watch_p50_ms), max(self.websocket_p99_ms, self.watch_p99_ms)
        return p50 <= MOST_P50_MS and p99 <= MOST_P99_MS


Seen = dict[tuple[str, int], float]
"""Seconds since the epoch, by session and its version."""


class _Session:
    """A running session of one user, paused and resumed by one device and seen by another."""

    def __init__(self, account: Account, session_id: str) -> None:
        self.id, self.metadata = session_id, (("authorization", f"Bearer {account.token}"),)
        self._runs, self._turn = True, asyncio.Lock()

    async def change(self, stub: rpc.FocusSessionServiceStub, made: Seen) -> None:
        """Pauses or resumes it, and notes when."""
        async with self._turn:
            response: Any
            if self._runs:
                pause = pb.PauseFocusSessionRequest(focus_session_id=self.id)
                response = await stub.PauseFocusSession(pause, metadata=self.metadata, timeout=10)
            else:
                resume = pb.ResumeFocusSessionRequest(focus_session_id=self.id)
                response = await stub.ResumeFocusSession(resume, metadata=self.metadata, timeout=10)
            self._runs = not self._runs
        instant = response.server_time
        made[self.id, _version(response.focus_session.etag)] = instant.seconds + instant.nanos / 1e9


def kafka_alone(connection: Mapping[str, str], seconds: float) -> list[float]:
    """Milliseconds that messages to a topic of their own take, for so long after a warm-up; in a process of its own."""
    admin = kafka.admin(connection)
    admin.create_topics([NewTopic(_PROBE_TOPIC, 3, 1)])[_PROBE_TOPIC].result(20)
    common = {**connection, "log_level": 2}
    producer = confluent_kafka.Producer(common | {"enable.idempotence": True, "acks": "all", "linger.ms": 1})
    consumer = confluent_kafka.Consumer(common | {"group.id": _PROBE_TOPIC, "auto.offset.reset": "earliest"})
    consumer.subscribe([_PROBE_TOPIC])
    found: list[float] = []
    began, sent = time.monotonic(), 0
    while time.monotonic() < began + _WARM_SECONDS + seconds:
        due = began + sent / PER_SECOND - time.monotonic()
        if due <= 0:
            value = f"{time.time():.6f}".encode().ljust(_PROBE_BYTES)
            producer.produce(_PROBE_TOPIC, value, key=str(uuid.uuid4()))
            producer.poll(0)
            sent += 1
            continue
        message = consumer.poll(due)
        if message is not None and message.error() is None and time.monotonic() > began + _WARM_SECONDS:
            found.append((time.time() - float(message.value() or b"0")) * 1000)
    consumer.close()
    return found


def measure(seconds: float = SECONDS) -> Reach:
    """Measures on a stack of its own. Raises StackError when a change does not reach the second device."""
    ports, claim = claim_ports()
    folder = RUN / "bench-second-device"
    shutil.rmtree(folder, ignore_errors=True)
    rates = {f"FOCUSMESH_GATEWAY_RATE_{kind}": _UNLIMITED for kind in ("ADDRESS", "CREDENTIAL", "READ", "WRITE")}
    with ExitStack() as opened:
        opened.enter_context(claim)
        stack = opened.enter_context(Stack(State(folder), ports, environment=rates))
        http = opened.enter_context(httpx.Client(base_url=stack.gateway_url, timeout=15))
        accounts = [Account(Accounts(http)) for _ in range(USERS)]
        found = uvloop.run(_measure(accounts, stack.gateway_target, stack.broker.client, seconds))
    shutil.rmtree(folder, ignore_errors=True)
    return found


async def _measure(accounts: Sequence[Account], gateway: str, connection: Mapping[str, str], seconds: float) -> Reach:
    by_socket: Seen = {}
    by_watch: Seen = {}
    async with grpc.aio.insecure_channel(gateway) as channel:
        stub = rpc.FocusSessionServiceStub(channel)
        sessions = [await _started(stub, account) for account in accounts]
        sockets = [
            await connect(f"ws://{gateway}/v1/realtime", additional_headers=dict(session.metadata), max_queue=None)
            for session in sessions
        ]
        watching = [
            *(asyncio.create_task(_read_socket(socket, by_socket)) for socket in sockets),
            *(asyncio.create_task(_read_watch(stub, session, by_watch)) for session in sessions),
        ]
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as beside:
            alone = asyncio.get_running_loop().run_in_executor(beside, kafka_alone, connection, seconds)
            await _change(stub, sessions, _WARM_SECONDS)
            began = time.monotonic()
            made = await _change(stub, sessions, seconds)
            took = time.monotonic() - began
            await until(
                lambda: made.keys() <= by_socket.keys() and made.keys() <= by_watch.keys(),
                f"each of {len(made)} transitions has reached the second device",
                _LAST_SECONDS,
                advice="`make logs S=pomodoro-0`, `make logs S=realtime-0`",
            )
            by_kafka = await alone
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in sockets))
    figures = [
        sorted((seen[change] - instant) * 1000 for change, instant in made.items()) for seen in (by_socket, by_watch)
    ]
    figures.append(sorted(by_kafka))
    shares = [percentile(each, share) for each in figures for share in (0.50, 0.99)]
    return Reach(len(made), len(made) / took, *shares)


async def _started(stub: rpc.FocusSessionServiceStub, account: Account) -> _Session:
    metadata = (("authorization", f"Bearer {account.token}"),)
    request = pb.CreateFocusSessionRequest(
        start=True, auto_start_breaks=True, auto_start_focus=False, tasks=[pb.NewSessionTask(title="Write")], **_PLAN
    )
    response = await stub.CreateFocusSession(request, metadata=metadata, timeout=10)
    return _Session(account, response.focus_session.id)


async def _change(stub: rpc.FocusSessionServiceStub, sessions: Sequence[_Session], seconds: float) -> Seen:
    """Changes one session after the other at the pace; returns when each change was made."""
    made: Seen = {}
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(PER_SECOND * seconds)):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            group.create_task(sessions[number % len(sessions)].change(stub, made))
    return made


async def _read_socket(socket: ClientConnection, seen: Seen) -> None:
    async for message in socket:
        now = time.time()
        change = json.loads(message).get("change")
        if change is not None:
            seen.setdefault((change["subjectId"], change["version"]), now)


async def _read_watch(stub: rpc.FocusSessionServiceStub, session: _Session, seen: Seen) -> None:
    request = pb.WatchFocusSessionRequest(focus_session_id=session.id)
    async for state in stub.WatchFocusSession(request, metadata=session.metadata):
        seen.setdefault((session.id, _version(state.focus_session.etag)), time.time())


def _version(etag: str) -> int:
    return int(etag.removeprefix("v"))


def main(arguments: list[str]) -> None:
    """Prints the figures as JSON; ends with status 1 when a limit is missed."""
    found = measure(*map(float, arguments[:1]))
    print(json.dumps(found._asdict()))
    if not found.holds:
        sys.exit(1)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
