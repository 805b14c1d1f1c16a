"""Summaries over a large archive: latency of SummarizeFocus, called straight at the service, and its CPU against a bare
handler that runs the same statements.

Alone: python -m bench.history [SESSIONS [USERS]]; a million sessions of a thousand users, two years, three minutes.
Ends with status 1 when a limit is missed.
"""

import asyncio
import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, NamedTuple

import grpc
import psycopg
import uvloop
from focusmesh.history.v1 import history_service_pb2 as pb
from focusmesh.history.v1.history_service_pb2_grpc import HistoryServiceStub

from bench.ceiling import CALLER
from bench.pairs import signs
from bench.processes import Module, cpu_seconds
from stack.database import MAIN
from stack.errors import run_command
from stack.layout import LOOPBACK, RUN, State
from stack.preflight import claim_ports
from stack.stack import Stack

SESSIONS, USERS = 1_000_000, 1000
MOST_P99_MS, MOST_RATIO = 60.0, 1.3
"""What a summary may take, and its CPU to that of the bare handler (ADR 18)."""
CALLS = 4000
ROUNDS = 12
DAYS = 730
_IN_FLIGHT = 4
_MONTHS = """
    SELECT history.make_partitions(array_agg(date_trunc('month', now()) - number * interval '1 month'))
    FROM generate_series(0, 25) AS number"""
_EACH = """
    FROM generate_series(0, %(users)s - 1) AS person, generate_series(0, %(each)s - 1) AS number,
        LATERAL (SELECT date_trunc('day', now()) - number * interval '730 days' / %(each)s
            + (9 + person %% 9) * interval '1 hour' AS at,
            ('00000000-0000-7000-8000-' || lpad(to_hex(person), 12, '0'))::uuid AS owner,
            ('00000000-0000-7000-9000-' || lpad(to_hex(person::bigint * %(each)s + number), 12, '0'))::uuid AS session,
            ('00000000-0000-7000-a000-' || lpad(to_hex(person * 20 + number %% 20), 12, '0'))::uuid AS task) AS each"""
_FILL = (
    f"""
    INSERT INTO history.sessions_archive (
        id, original_session_id, user_id, title, status, outcome, pomodoro_count, total_focused_seconds, start_time,
        end_time, created_at)
    SELECT session, session, owner, 'Weekly report', 'finished', 'completed', 1, 1500, at, at + interval '25 minutes',
        at + interval '25 minutes' {_EACH}""",
    # 25 minutes from ten to the hour on: two rows of a session.
    f"""
    INSERT INTO history.session_days
    SELECT owner, session, (at + part * interval '1 hour')::date, extract(hour FROM at + part * interval '1 hour'),
        task,
        600 + part * 300, 0, part, part * 1500 {_EACH}, generate_series(0, 1) AS part""",
    """
    INSERT INTO history.daily_user_aggregates (user_id, date_date, total_pomodoros, total_focused_seconds)
    SELECT user_id, local_date, sum(pomodoro_count), sum(focused_seconds) FROM history.session_days GROUP BY 1, 2""",
    """
    INSERT INTO history.task_titles
    SELECT user_id, task_id, 'Weekly report' FROM history.session_days GROUP BY 1, 2""",
)


class Cpu(NamedTuple):
    """CPU of a call that summarizes a month by day, of the service and of the ceiling."""

    cpu_ms: float
    ceiling_cpu_ms: float
    ratio: float
    """Median of the rounds' ratios."""

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.ratio <= MOST_RATIO


class Summaries(NamedTuple):
    """Calls with one grouping."""

    group: str
    calls: int
    p50_ms: float
    p99_ms: float

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.p99_ms <= MOST_P99_MS


def measure(sessions: int = SESSIONS, users: int = USERS) -> list[Summaries | Cpu]:
    """Every grouping, and the CPU of one, on a stack of its own. Raises StackError."""
    ports, claim = claim_ports()
    folder = RUN / "bench-history"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as opened:
        opened.enter_context(claim)
        stack = opened.enter_context(Stack(State(folder), ports, only=["auth", "history"]))
        _fill(stack.cluster.administrator_url(MAIN), sessions, users)
        replica = stack.replicas_of("history")[0]
        target, bare_target = f"{LOOPBACK}:{replica.port(ports)}", f"{LOOPBACK}:{ports.base + 90}"
        url = stack.cluster.runtime_url("history")
        bare = opened.enter_context(
            Module("bench.history_ceiling", (url, bare_target), ports.base + 90, folder / "ceiling.log")
        )
        sign = signs(stack)
        owners = [f"00000000-0000-7000-8000-{person:012x}" for person in range(users)]
        signed = [(sign(owner),) for owner in owners]
        found: list[Summaries | Cpu] = [*uvloop.run(_calls(target, signed))]
        sides = [
            (target, stack.pid(replica.name), signed),
            (bare_target, bare.pid, [((CALLER, owner),) for owner in owners]),
        ]
        found.append(uvloop.run(_cpu(sides)))
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _fill(url: str, sessions: int, users: int) -> None:
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute(_MONTHS)
        for statement in _FILL:
            connection.execute(statement, {"users": users, "each": sessions // users})
        connection.execute("VACUUM ANALYZE")
        [counted] = connection.execute("SELECT count(DISTINCT session_id) FROM history.session_days").fetchone() or (0,)
        [hot] = connection.execute("SELECT count(*) FROM history.sessions_archive").fetchone() or (0,)
    took = time.monotonic() - began
    print(f"bench: {counted} sessions of {users} users, {hot} not in cold storage, after {took:.0f} s", flush=True)


async def _calls(target: str, callers: Sequence[tuple[tuple[str, str]]]) -> list[Summaries]:
    """Each grouping by users at random, over two years, a year, a month."""
    rng = random.Random(1)  # noqa: S311 (not a secret)
    windows = [("2020-01-01", "2029-12-31"), ("2026-01-01", "2027-01-01"), ("2026-06-01", "2026-07-01")]
    groups = list(pb.SummaryGroup.items())[1:]
    found = []
    async with grpc.aio.insecure_channel(target) as channel:
        stub = HistoryServiceStub(channel)
        for name, group in groups:
            taken: list[float] = []
            waiting = list(range(CALLS // len(groups)))

            async def caller(waiting: list[int] = waiting, taken: list[float] = taken, group: int = group) -> None:
                while waiting:
                    first, before = windows[waiting.pop() % len(windows)]
                    request = pb.SummarizeFocusRequest(group=group, from_date=first, before_date=before)  # type: ignore[arg-type]  # a number
                    began = time.perf_counter()
                    await stub.SummarizeFocus(request, metadata=rng.choice(callers), timeout=10)
                    taken.append((time.perf_counter() - began) * 1000)

            await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
            taken.sort()
            found.append(Summaries(name, len(taken), taken[len(taken) // 2], taken[len(taken) * 99 // 100]))
    return found


async def _cpu(sides: Sequence[tuple[str, int, Sequence[tuple[tuple[str, str]]]]]) -> Cpu:
    """Rounds in which both sides summarize the same month for the same users."""
    request = pb.SummarizeFocusRequest(group=pb.SUMMARY_GROUP_DAY, from_date="2026-06-01", before_date="2026-07-01")
    taken: list[list[float]] = [[], []]
    for number in range(ROUNDS + 1):
        for index in (0, 1) if number % 2 else (1, 0):
            target, pid, callers = sides[index]
            waiting = [callers[call % len(callers)] for call in range(CALLS // 8)]
            began, count = cpu_seconds(pid), len(waiting)
            async with grpc.aio.insecure_channel(target) as channel:
                stub = HistoryServiceStub(channel)

                async def caller(waiting: list[Any] = waiting, stub: HistoryServiceStub = stub) -> None:
                    while waiting:
                        await stub.SummarizeFocus(request, metadata=waiting.pop(), timeout=10)

                await asyncio.gather(*(caller() for _ in range(4 * _IN_FLIGHT)))
            taken[index].append((cpu_seconds(pid) - began) * 1000 / count)
    served, bare = (each[1:] for each in taken)  # the first round warms up
    return Cpu(median(served), median(bare), median(one / other for one, other in zip(served, bare, strict=True)))


def main(arguments: list[str]) -> None:
    """Prints a line of JSON for each grouping, and for the CPU."""
    found = measure(*map(int, arguments[:2]))
    for row in found:
        print(json.dumps(row._asdict()))
    if not all(row.holds for row in found):
        sys.exit(1)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
