"""The flood, a process of its own: reads one job a line as JSON, writes what became of its calls as one line each.

    python -m prove.flood

An open loop sends on time, whatever became of the earlier calls; a closed loop keeps so many in flight. A caller gives
up at its deadline, as every client does. After an open loop it asks gently until a call succeeds.
"""

import asyncio
import base64
import json
import os
import sys
import uuid
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count, cycle
from time import perf_counter
from typing import Any

import uvloop
from google.rpc import code_pb2

from harness.http2 import CANCEL, NOT_RESET, Connection, Headers, encoded

GAVE_UP, BROKEN, UNSENT = "gave up", "broken", "unsent"
"""The caller's deadline passed; the connection broke, or the response made no sense; no connection had room."""
OK = "OK"
_CODES: dict[int, str] = {number: name for name, number in code_pb2.Code.items()}
_TICK_SECONDS = 0.002
_PRIORITY = -10
_REFUSED_STREAM = 7
_AFTER_SECONDS, _AFTER_EVERY = 10.0, 0.05


@dataclass(frozen=True)
class Request:
    """What is sent, as one of some users."""

    headers: dict[str, str]
    """Pseudo-headers first."""
    body: str
    """Hexadecimal."""
    fresh_id: str
    """Hexadecimal; what comes before a request_id. With it, that and a fresh UUID are put before the body."""


@dataclass(frozen=True, kw_only=True)
class Flood:
    """Calls to one target."""

    target: str
    requests: list[Request]
    """Sent in turn."""
    rate: float = 0.0
    """Calls a second, of an open loop."""
    in_flight: int = 0
    """Of a closed loop."""
    seconds: float
    deadline: float
    connections: int


@dataclass
class Outcome:
    """What became of the calls of a flood."""

    calls: list[tuple[float, float, str, bool]] = field(default_factory=list)
    """When each was due, in seconds from the beginning; how long it took; its code; whether it says when to retry."""
    first_success: float = -1.0
    """After the open loop: seconds from its end until the first success, -1 for none."""
    late: float = 0.0
    """Seconds that calls of the open loop were sent after they were due, at the 99th percentile."""


class _Flooding:
    """One flood."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._connections: list[Connection] = []
        self._turn = cycle(range(flood.connections))
        self._requests = cycle([self._prepared(request) for request in flood.requests])
        self._numbers, self._running = count(), deque[tuple[float, Connection, int, list[bool]]]()
        self.outcome, self._late = Outcome(), list[float]()
        self._began = self._end = 0.0

    async def run(self) -> Outcome:
        """Sends for the flood's seconds, and waits for what is in flight."""
        flood = self._flood
        self._connections = [await Connection.open(flood.target) for _ in range(flood.connections)]
        await asyncio.sleep(0.2)  # the peers say meanwhile how many calls they take at once
        self._began = perf_counter()
        self._end = self._began + flood.seconds
        for _ in range(flood.in_flight):
            self._send(perf_counter())
        sent = 0
        while (now := perf_counter()) < self._end:
            due = int((now - self._began) * flood.rate)
            for number in range(sent, due):
                self._send(self._began + number / flood.rate)
                self._late.append(now - self._began - number / flood.rate)
            sent = max(sent, due)
            self._give_up(now)
            await asyncio.sleep(_TICK_SECONDS)
        if flood.rate:
            await self._succeed_again()
        while self._running:
            self._give_up(perf_counter())
            await asyncio.sleep(_TICK_SECONDS)
        for connection in self._connections:
            connection.close()
        self.outcome.late = sorted(self._late)[len(self._late) * 99 // 100] if self._late else 0.0
        return self.outcome

    async def _succeed_again(self) -> None:
        """Sends a call at a time until one succeeds that was sent after the load."""
        ended = perf_counter()
        before = len(self.outcome.calls)
        while (now := perf_counter()) < ended + _AFTER_SECONDS:
            self._send(now)
            self._give_up(now)
            await asyncio.sleep(_AFTER_EVERY)
            for due, took, code, _ in self.outcome.calls[before:]:
                if code == OK and due >= ended - self._began:
                    self.outcome.first_success = due + took - (ended - self._began)
                    return

    def _prepared(self, request: Request) -> tuple[bytes, bytes, bytes]:
        before = bytes.fromhex(request.fresh_id)
        return (
            encoded(request.headers),
            before and before + str(uuid.uuid4())[:24].encode(),
            bytes.fromhex(request.body),
        )

    def _send(self, due: float) -> None:
        connection = self._free()
        if connection is None:
            self.outcome.calls.append((due - self._began, 0.0, UNSENT, False))
            return
        head, before, body = next(self._requests)
        content = b"%b%012x%b" % (before, next(self._numbers), body) if before else body
        if head.find(b"application/grpc") >= 0:
            content = b"\0" + len(content).to_bytes(4, "big") + content
        done = [False]

        def end(headers: Headers, reset: int) -> None:
            if not done[0]:
                done[0] = True
                self._ended(due, *_code(headers, reset))

        self._running.append((due, connection, connection.call(head, content, end), done))

    def _free(self) -> Connection | None:
        for _ in range(len(self._connections)):
            connection = self._connections[next(self._turn)]
            if connection.free > 0:
                return connection
        return None

    def _ended(self, due: float, code: str, retry: bool) -> None:
        now = perf_counter()
        self.outcome.calls.append((due - self._began, now - due, code, retry))
        if self._flood.in_flight and now < self._end:
            self._send(now)

    def _give_up(self, now: float) -> None:
        while self._running and (self._running[0][3][0] or now - self._running[0][0] >= self._flood.deadline):
            due, connection, stream, done = self._running.popleft()
            if not done[0]:
                done[0] = True
                connection.cancel(stream)
                self._ended(due, GAVE_UP, False)


def _code(headers: Headers, reset: int) -> tuple[str, bool]:
    """The name of a gRPC status, or an HTTP status; and whether the response says when to try again."""
    if reset != NOT_RESET:
        name = {CANCEL: "CANCELLED", _REFUSED_STREAM: "UNAVAILABLE"}.get(reset, f"reset {reset}")
        return name, False
    if status := headers.get("grpc-status"):
        details = headers.get("grpc-status-details-bin", "")
        known = b"RetryInfo" in base64.b64decode(details + "=" * (-len(details) % 4))
        return _CODES[int(status)], known or "retry-after" in headers
    status = headers.get(":status", BROKEN)
    return OK if status == "200" else status, "retry-after" in headers


async def run(floods: Iterable[Flood]) -> list[Outcome]:
    """Sends all floods at once, each to its end."""
    return list(await asyncio.gather(*(_Flooding(flood).run() for flood in floods)))


def flood_of(values: dict[str, Any]) -> Flood:
    """A flood out of JSON."""
    return Flood(**{**values, "requests": [Request(**request) for request in values["requests"]]})


def main() -> None:
    """Runs jobs until the input ends, before others on the same cores where that is allowed: callers have their own."""
    with suppress(PermissionError):
        os.nice(_PRIORITY)
    for line in sys.stdin:
        outcomes = uvloop.run(run(map(flood_of, json.loads(line))))
        print(json.dumps([asdict(outcome) for outcome in outcomes]), flush=True)


if __name__ == "__main__":
    main()
