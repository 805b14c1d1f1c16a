"""Focus sessions against bare handlers that run the same statements: CPU of the serving process per call.

Alone: python -m bench.focus [ROUNDS]. Every user has a planned session for each round, which is started and paused, and
asks for the current one. The tokens are signed here, with the key of the stack. Ends with status 1 when a limit is
missed.
"""

import json
import shutil
import sys
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
import uvloop
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb

from bench.pairs import CEILING_OFFSET, Compared, Side, compared, sides, timed
from bench.processes import Module
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
_SERVICE = "/focusmesh.pomodoro.v1.FocusSessionService/"
_SEED = """
    WITH made AS (
        INSERT INTO pomodoro.sessions (user_id, status, task_count)
        SELECT owner, 'planned', 1 FROM unnest(%s::uuid[]) AS owner RETURNING id, user_id)
    , listed AS (INSERT INTO pomodoro.tasks (session_id, title) SELECT id, 'Write the weekly report' FROM made)
    SELECT user_id::text, id::text FROM made"""


def measure(rounds: int = ROUNDS) -> list[Compared]:
    """Each operation on a stack of its own. Raises StackError."""
    ports, claim = claim_ports()
    folder = RUN / "bench-focus"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as opened:
        opened.enter_context(claim)
        stack = opened.enter_context(Stack(State(folder), ports, only=["auth", "pomodoro"]))
        url, port = stack.cluster.runtime_url("pomodoro"), ports.base + CEILING_OFFSET
        target = f"{LOOPBACK}:{port}"
        bare = opened.enter_context(Module("bench.focus_ceiling", (url, target), port, folder / "ceiling.log"))
        database = opened.enter_context(psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True))
        pair = sides(stack, "pomodoro", target, bare.pid, USERS)
        samples = uvloop.run(_rounds(pair, database, rounds))
    shutil.rmtree(folder, ignore_errors=True)
    return [compared(operation, *samples[operation], limit) for operation, limit in OPERATIONS.items()]


async def _rounds(
    pair: Sequence[Side], database: "psycopg.Connection[Any]", rounds: int
) -> Mapping[str, tuple[list[float], list[float]]]:
    """By operation: CPU of a call of the service, and of the bare handler, in each round."""
    samples: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for number in range(rounds + 1):
        for index in (0, 1) if number % 2 else (1, 0):
            side = pair[index]
            planned = dict(database.execute(_SEED, (list(side.metadata),)).fetchall())
            database.execute("VACUUM ANALYZE pomodoro.sessions, pomodoro.outbox, pomodoro.idempotency")
            for operation in OPERATIONS:
                bodies = [(user, _body(operation, planned[user])) for user in side.metadata]
                if operation not in _CHANGES:  # clients ask again and again, and changes are rare
                    await timed(side, _SERVICE + operation, bodies, database, "pomodoro")
                took = await timed(side, _SERVICE + operation, bodies, database, "pomodoro")
                if number:  # the first round warms up
                    samples[operation][index].append(took)
    return samples


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


def main(arguments: list[str]) -> None:
    """Prints a line of JSON for each operation."""
    found = measure(*map(int, arguments[:1]))
    for row in found:
        print(json.dumps(row._asdict()))
    if not all(row.holds for row in found):
        sys.exit(1)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
