"""The calendar against bare handlers with the same statements: CPU of a call; and how long a list takes.

Alone: python -m bench.calendar [ROUNDS]. A list is of a month, from a user with many daily series, by one caller who
calls the service itself. Ends with status 1 when a limit is missed.
"""

import json
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

import grpc
import psycopg
import uvloop
from focusmesh.calendar.v1 import event_pb2, event_service_pb2
from focusmesh.calendar.v1 import occurrence_service_pb2 as pb

from bench.pairs import CEILING_OFFSET, Compared, Side, compared, sides, signs, timed
from bench.processes import Module
from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Frequency, Rule
from stack.database import MAIN
from stack.errors import run_command
from stack.layout import LOOPBACK, RUN, State
from stack.preflight import claim_ports
from stack.stack import Stack

CREATE, START, READ = 1.75, 2.75, 1.3
"""What the ratios may be (ADR 25)."""
P99_MS = {100: 20.0, 1_000: 80.0}
"""By daily series of a user, what 99 of 100 lists of a month may take at most (ADR 25)."""
LAST_TO_FIRST = 1.2
"""What the last week of ten years may cost of the first."""
USERS = 1_000
ROUNDS = 12
ZONE = "Europe/Berlin"
LIST = "/focusmesh.calendar.v1.OccurrenceService/ListOccurrences"
_READERS, _SERIES = 100, 20
"""Users who list a week of daily series again and again."""
_LISTS = 500
_DAY = 86_400
_NOVEMBER, _PAGE = 1_793_491_200, 50
"""1 November 2026."""
_RULE = json.dumps(to_document(Rule(Frequency.DAILY)))
_KNOW = """
    INSERT INTO calendar.users (user_id, time_zone) SELECT owner, %s FROM unnest(%s::uuid[]) AS owner
    ON CONFLICT DO NOTHING"""
_EVENTS = """
    INSERT INTO calendar.events (user_id, title, scheduled_start, duration_minutes, repeat_type, status, start_slot,
        time_zone, length_days, length_seconds, rule, series_id)
    SELECT owner, 'Write the weekly report', at AT TIME ZONE %(zone)s, 50, 'daily', 'planned',
        to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS'), %(zone)s, 0, 3000, %(rule)s::jsonb, uuidv7()
    FROM (SELECT owner, timestamp '2026-01-05 08:00:00' + number * interval '7 minutes' AS at
        FROM unnest(%(users)s::uuid[]) AS owner, generate_series(1, %(series)s) AS number) AS made
    RETURNING user_id::text, id::text, start_slot"""

Database = psycopg.Connection[Any]
Bodies = list[tuple[str, bytes]]
"""What each user sends."""


class Operation(NamedTuple):
    """One RPC, and what it is called with."""

    rpc: str
    limit: float
    bodies: Callable[[Side, Database], Bodies]
    """Prepares a round."""

    @property
    def name(self) -> str:
        """As in the contract."""
        return self.rpc.rpartition("/")[2]


class Latency(NamedTuple):
    """How long lists take."""

    operation: str
    p50_ms: float
    measured: float
    """What has the limit: milliseconds at p99, or a ratio."""
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.measured <= self.limit


def seed(database: Database, users: Iterable[str], series: int) -> list[tuple[str, str, str]]:
    """Gives users so many daily series each; returns user, event and first slot of each of them."""
    owners = list(users)
    database.execute(_KNOW, (ZONE, owners))
    made = database.execute(_EVENTS, {"users": owners, "series": series, "zone": ZONE, "rule": _RULE}).fetchall()
    database.execute("VACUUM ANALYZE calendar.events, calendar.occurrences, calendar.users")
    return made


def window(first: int, days: int, **fields: Any) -> bytes:
    """A request for a window that begins so many days after 1 November 2026."""
    request = pb.ListOccurrencesRequest(page_size=_PAGE, **fields)
    request.start_time.seconds = _NOVEMBER + first * _DAY
    request.end_time.seconds = _NOVEMBER + (first + days) * _DAY
    return request.SerializeToString()


def _create(side: Side, database: Database) -> Bodies:
    database.execute(_KNOW, (ZONE, list(side.metadata)))
    database.execute("VACUUM ANALYZE calendar.events, calendar.outbox, calendar.idempotency")
    request = event_service_pb2.CreateEventRequest(
        title="Write the weekly report",
        start="2026-12-01T09:00:00",
        time_zone=ZONE,
        repeat_type=event_pb2.REPEAT_TYPE_DAILY,
    )

    def body() -> bytes:
        request.request_id = str(uuid.uuid4())
        return request.SerializeToString()

    return [(user, body()) for user in side.metadata]


def _read(side: Side, database: Database) -> Bodies:
    readers = list(islice(reversed(side.metadata), _READERS))
    held = database.execute("SELECT FROM calendar.events WHERE user_id = %s LIMIT 2", (readers[0],))
    if held.rowcount < 2:
        database.execute("DELETE FROM calendar.events WHERE user_id = ANY(%s::uuid[])", (readers,))
        seed(database, readers, _SERIES)
    return [(user, window(0, 7)) for user in readers] * (USERS // _READERS)


def _start(side: Side, database: Database) -> Bodies:
    def body(event: str, slot: str) -> bytes:
        return pb.StartOccurrenceRequest(
            occurrence_id=f"{event}_{slot.replace('-', '').replace(':', '')}",
            when_running=pb.WHEN_SESSION_RUNS_PAUSE_CURRENT,
            request_id=str(uuid.uuid4()),
        ).SerializeToString()

    starters = list(islice(side.metadata, USERS - _READERS))
    return [(user, body(event, slot)) for user, event, slot in seed(database, starters, 1)]


OPERATIONS = (
    Operation("/focusmesh.calendar.v1.EventService/CreateEvent", CREATE, _create),
    Operation(LIST, READ, _read),
    Operation("/focusmesh.calendar.v1.OccurrenceService/StartOccurrence", START, _start),
)


def measure(rounds: int = ROUNDS) -> list[Compared]:
    """Each operation, on a stack with pomodoro. Raises StackError."""
    ports, claim = claim_ports()
    folder = RUN / "bench-calendar"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as opened:
        opened.enter_context(claim)
        stack = opened.enter_context(Stack(State(folder), ports, only=["auth", "pomodoro", "calendar"]))
        url, port = stack.cluster.runtime_url("calendar"), ports.base + CEILING_OFFSET
        target = f"{LOOPBACK}:{port}"
        pomodoro = f"{LOOPBACK}:{stack.replicas_of('pomodoro')[0].port(ports)}"
        bare = opened.enter_context(
            Module("bench.calendar_ceiling", (url, target, pomodoro), port, folder / "ceiling.log")
        )
        database = opened.enter_context(psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True))
        pair = sides(stack, "calendar", target, bare.pid, USERS)
        samples = uvloop.run(_rounds(pair, database, rounds))
    shutil.rmtree(folder, ignore_errors=True)
    return [compared(one.name, *samples[one.name], one.limit) for one in OPERATIONS]


async def _rounds(
    pair: Sequence[Side], database: Database, rounds: int
) -> Mapping[str, tuple[list[float], list[float]]]:
    """By operation: CPU of a call of the service, and of the bare handler, in each round."""
    samples: dict[str, tuple[list[float], list[float]]] = {one.name: ([], []) for one in OPERATIONS}
    for number in range(rounds + 1):
        for index in (0, 1) if number % 2 else (1, 0):
            for one in OPERATIONS:
                took = await timed(pair[index], one.rpc, one.bodies(pair[index], database), database, "calendar")
                if number:  # the first round warms up
                    samples[one.name][index].append(took)
    return samples


def latencies(lists: int = _LISTS) -> list[Latency]:
    """Lists of a month, and the last week of ten years against the first. Raises StackError."""
    ports, claim = claim_ports()
    folder = RUN / "bench-calendar"
    shutil.rmtree(folder, ignore_errors=True)
    found: list[Latency] = []
    with ExitStack() as opened:
        opened.enter_context(claim)
        stack = opened.enter_context(Stack(State(folder), ports, only=["auth", "calendar"]))
        target = f"{LOOPBACK}:{stack.replicas_of('calendar')[0].port(ports)}"
        database = opened.enter_context(psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True))
        sign = signs(stack)

        def took(series: int, body: bytes) -> list[float]:
            user = str(uuid.uuid4())
            seed(database, [user], series)
            return uvloop.run(_lists(target, sign(user), body, lists))

        for series, limit in P99_MS.items():
            month = took(series, window(0, 30))
            found.append(Latency(f"month of {series} series, p99", _p50(month), month[lists * 99 // 100], limit))
        first, last = took(1, window(0, 7)), took(1, window(3_600, 7))
        ratio = _p50(last) / _p50(first)
        found.append(Latency("last week of ten years to the first", _p50(last), ratio, LAST_TO_FIRST))
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _p50(ascending: Sequence[float]) -> float:
    return ascending[len(ascending) // 2]


async def _lists(target: str, caller: tuple[str, str], body: bytes, lists: int) -> list[float]:
    """What each list took, in milliseconds, ascending; one after the other, after a tenth as many."""
    found: list[float] = []
    async with grpc.aio.insecure_channel(target) as channel:
        call: Callable[..., Any] = channel.unary_unary(LIST)
        for _ in range(lists + lists // 10):
            begun = time.perf_counter()
            await call(body, metadata=(caller,), timeout=10)
            found.append((time.perf_counter() - begun) * 1000)
    return sorted(found[lists // 10 :])


def main(arguments: list[str]) -> None:
    """Prints a line of JSON for each operation."""
    found: list[Compared | Latency] = [*latencies(), *measure(*map(int, arguments[:1]))]
    for row in found:
        print(json.dumps(row._asdict()))
    if not all(row.holds for row in found):
        sys.exit(1)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
