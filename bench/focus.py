"""Focus sessions against bare handlers that run the same statements: CPU of the serving process per call.

Alone: python -m bench.focus [ROUNDS]. Every user has a planned session for each round, which is started and paused, and
asks for the current one. The tokens are signed here, with the key of the stack.
"""

import asyncio
import json
import shutil
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any, NamedTuple

import grpc
import jwt
import psycopg
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.scopes import USER_SCOPES

from bench.ceiling import CALLER
from bench.processes import Module, cpu_seconds
from harness.waiting import wait_until
from mesh.runtime.signing_keys import kid_of
from stack.database import MAIN
from stack.errors import run_command
from stack.layout import LOOPBACK, RUN, State
from stack.preflight import claim_ports
from stack.stack import Stack

OPERATIONS = {"StartFocusSession": 1.5, "PauseFocusSession": 1.5, "GetCurrentFocusSession": 1.3}
"""Each with what its ratio may be (ADR 18)."""
USERS = 1000
ROUNDS = 12
_CHANGES = ("StartFocusSession", "PauseFocusSession")
_IN_FLIGHT = 16
_SERVICE = "/focusmesh.pomodoro.v1.FocusSessionService/"
_TOKEN_SECONDS = 590
_CEILING, _SERVED = "ceiling", "pomodoro"
_SEED = """
    WITH made AS (
        INSERT INTO pomodoro.sessions (user_id, status, task_count)
        SELECT owner, 'planned', 1 FROM unnest(%s::uuid[]) AS owner RETURNING id, user_id)
    , listed AS (INSERT INTO pomodoro.tasks (session_id, title) SELECT id, 'Write the weekly report' FROM made)
    SELECT user_id::text, id::text FROM made"""


class Focus(NamedTuple):
    """One operation."""

    operation: str
    cpu_ms: float
    """Of the service, its relay included, until its outbox is empty; median of the rounds."""
    ceiling_cpu_ms: float
    ratio: float
    """Median of the rounds' ratios."""
    limit: float
    """What the ratio may be."""


class _Side:
    """The service or the ceiling, and users of its own."""

    def __init__(self, name: str, target: str, pid: int, metadata: Callable[[str], tuple[str, str]]) -> None:
        self.name, self.target, self.pid = name, target, pid
        self.metadata = {user: (metadata(user),) for user in (str(uuid.uuid4()) for _ in range(USERS))}


def measure(rounds: int = ROUNDS) -> list[Focus]:
    """Each operation on a stack of its own. Raises StackError."""
    ports, claim = claim_ports()
    folder = RUN / "bench-focus"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as opened:
        opened.enter_context(claim)
        stack = opened.enter_context(Stack(State(folder), ports, only=["auth", "pomodoro"]))
        url, target = stack.cluster.runtime_url("pomodoro"), f"{LOOPBACK}:{ports.base + 90}"
        bare = opened.enter_context(
            Module("bench.focus_ceiling", (url, target), ports.base + 90, folder / "ceiling.log")
        )
        database = opened.enter_context(psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True))
        replica = stack.replicas_of("pomodoro")[0]
        sides = [
            _Side(_CEILING, target, bare.pid, lambda user: (CALLER, user)),
            _Side(_SERVED, f"{LOOPBACK}:{replica.port(ports)}", stack.pid(replica.name), signs(stack)),
        ]
        samples = uvloop.run(_rounds(sides, database, rounds))
    shutil.rmtree(folder, ignore_errors=True)
    return [_row(operation, samples) for operation in OPERATIONS]


def signs(stack: Stack) -> Callable[[str], tuple[str, str]]:
    key = load_pem_private_key(stack.keys.signing_key().read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)  # noqa: S101 (for the type checker)
    headers, now = {"kid": kid_of(key.public_key()), "typ": "at+jwt"}, int(time.time())
    claims = {
        **{"iss": "https://auth.focusmesh", "aud": "focusmesh", "scope": " ".join(USER_SCOPES)},
        **{"iat": now, "exp": now + _TOKEN_SECONDS},
    }

    def sign(user: str) -> tuple[str, str]:
        own = {"sub": user, "sid": str(uuid.uuid4()), "jti": str(uuid.uuid4())}
        return "authorization", f"Bearer {jwt.encode(claims | own, key, 'EdDSA', headers)}"

    return sign


async def _rounds(
    sides: list[_Side], database: "psycopg.Connection[Any]", rounds: int
) -> Mapping[tuple[str, str], list[float]]:
    samples: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for side in sides if number % 2 else reversed(sides):
            planned = dict(database.execute(_SEED, (list(side.metadata),)).fetchall())
            database.execute("VACUUM ANALYZE pomodoro.sessions, pomodoro.outbox, pomodoro.idempotency")
            for operation in OPERATIONS:
                bodies = [(user, _body(operation, planned[user])) for user in side.metadata]
                if operation not in _CHANGES:  # clients ask again and again, and changes are rare
                    await _timed(side, operation, bodies, database)
                samples[side.name, operation].append(await _timed(side, operation, bodies, database))
    return {key: found[1:] for key, found in samples.items()}  # the first round warms up


def _body(operation: str, session_id: str) -> bytes:
    if operation == "StartFocusSession":
        return pb.StartFocusSessionRequest(
            focus_session_id=session_id, request_id=str(uuid.uuid4())
        ).SerializeToString()
    if operation == "PauseFocusSession":
        return pb.PauseFocusSessionRequest(
            focus_session_id=session_id, request_id=str(uuid.uuid4())
        ).SerializeToString()
    return b""


async def _timed(
    side: _Side, operation: str, bodies: Iterable[tuple[str, bytes]], database: "psycopg.Connection[Any]"
) -> float:
    """Sends every body once; returns the CPU of one call in milliseconds."""
    began, waiting = cpu_seconds(side.pid), list(bodies)
    count = len(waiting)
    async with grpc.aio.insecure_channel(side.target) as channel:
        call: Callable[..., Awaitable[bytes]] = channel.unary_unary(_SERVICE + operation)

        async def caller() -> None:
            while waiting:
                user, body = waiting.pop()
                await call(body, metadata=side.metadata[user], timeout=10)

        await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
    await asyncio.to_thread(wait_until, lambda: _published(database), "the outbox is empty", 60)
    return (cpu_seconds(side.pid) - began) * 1000 / count


def _published(database: "psycopg.Connection[Any]") -> bool:
    return database.execute("SELECT FROM pomodoro.outbox LIMIT 1").fetchone() is None


def _row(operation: str, samples: Mapping[tuple[str, str], list[float]]) -> Focus:
    served, bare = samples[_SERVED, operation], samples[_CEILING, operation]
    ratio = median(one / other for one, other in zip(served, bare, strict=True))
    return Focus(operation, median(served), median(bare), ratio, OPERATIONS[operation])


def main(arguments: list[str]) -> None:
    """Prints a line of JSON for each operation."""
    for row in measure(*map(int, arguments[:1])):
        print(json.dumps(row._asdict()))


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
