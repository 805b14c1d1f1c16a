"""Intervals: very many end within one second while replicas are killed; each ends once, at its instant, none early."""

import asyncio
import contextlib
import time
from collections.abc import Mapping

import psycopg
from focusmesh.pomodoro.v1.focus_session_service_pb2 import CreateFocusSessionRequest

from harness.waiting import until
from mesh.database.migrate import head
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from prove import checker, faults
from prove.history import SESSION_EVENTS, Broker
from prove.plan import Plan
from prove.promises import Promise, note
from services.pomodoro import wire
from services.pomodoro.model import Act, Focus, Preferences
from services.pomodoro.rules import sessions
from services.pomodoro.store.sessions import UserSessions
from stack.database import MAIN
from stack.errors import StackError
from stack.stack import Stack

_LENGTH = 25 * 60 * SECOND
_ALLOWED_SECONDS = 5.0
"""From the end of an interval to its row in the history, at the 99th percentile."""
_POLL_SECONDS = 0.05
_KILL_EVERY_SECONDS = 5.0
_SEEDED_A_SECOND = 200
"""Sessions that are surely written in a second."""
_KNOW_USERS = """
    INSERT INTO history.users (user_id, zones) SELECT id, '[[0, "UTC", 0]]' FROM unnest(%s::uuid[]) AS id"""
_ARRIVED = "SELECT id::text FROM history.recorded_sessions WHERE id = ANY(%s::uuid[])"


async def prove(stack: Stack, plan: Plan) -> list[Promise]:
    """Lets intervals end while one replica after the other is killed; returns what holds."""
    first = clock.now() + round((4 + plan.intervals / _SEEDED_A_SECOND) * SECOND)
    broker = Broker(stack.broker.client)
    since = await asyncio.to_thread(broker.ends, [SESSION_EVENTS])
    ends = await _seed(stack, first, plan.intervals)
    note(f"{len(ends)} intervals end within a second, while replicas of pomodoro are killed")
    killing = asyncio.create_task(faults.kill_in_turn(stack, stack.replicas_of("pomodoro"), _KILL_EVERY_SECONDS))
    try:
        arrived = await _arrivals(stack, ends, plan.settle_seconds)
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
    messages = await asyncio.to_thread(broker.read, since, None)
    broker.close()
    delays = sorted((at - ends[session]) / SECOND for session, at in arrived.items())
    slow = delays[len(ends) * 99 // 100 - 1] if len(delays) == len(ends) else float("inf")
    return [
        Promise.unless(
            checker.wrong_ends({session: clock.to_datetime(end) for session, end in ends.items()}, messages),
            "an interval ends once, at its instant and not before it, whatever is killed",
            f"{len(ends)} intervals that end within a second, {len(stack.replicas_of('pomodoro'))} replicas",
        ),
        Promise(
            f"the end of an interval is in the history within {_ALLOWED_SECONDS:.0f} s (p99)",
            f"{slow:.2f} s; {len(ends) - len(delays)} missing",
            slow <= _ALLOWED_SECONDS,
        ),
    ]


async def _seed(stack: Stack, first: int, count: int) -> dict[str, int]:
    """Writes running sessions, each of a user of its own; returns when the interval of each will end, by session."""
    made = [_running(first + at * SECOND // count) for at in range(count)]
    with psycopg.connect(stack.cluster.administrator_url(MAIN)) as connection:
        connection.execute(_KNOW_USERS, ([focus.session.user_id for focus in made],))
    database = Database(stack.cluster.runtime_url("pomodoro"), revision=head("pomodoro"))
    database.start()
    try:
        await until(lambda: database.ready, "the database responds")
        await asyncio.gather(*(_write(database, focus) for focus in made))
    finally:
        await database.close()
    return {focus.session.id: focus.session.interval_end or 0 for focus in made}


def _running(end: int) -> Focus:
    """A session whose first interval ends at an instant, and whose break does not start by itself."""
    began, preferences = end - _LENGTH, Preferences(auto_start_breaks=False)
    request, ids = CreateFocusSessionRequest(), {"session_id": new_id(), "user_id": new_id()}
    session = wire.session_from_pb(request, preferences, now=began, **ids)
    return sessions.create(session, [], Act(began, None, None), start=True)


async def _write(database: Database, focus: Focus) -> None:
    async with database.connection() as connection:
        await UserSessions(connection).save(focus, SideEffects([], None, ""))


async def _arrivals(stack: Stack, ends: Mapping[str, int], seconds: float) -> dict[str, int]:
    """When each interval was first seen in the history, by session."""
    arrived: dict[str, int] = {}
    with psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True) as connection:

        def complete() -> bool:
            rows = connection.execute(_ARRIVED, (list(ends.keys() - arrived.keys()),)).fetchall()
            now = clock.now()
            arrived.update((session, now) for (session,) in rows)
            return len(arrived) == len(ends)

        wait = max(ends.values()) / SECOND - time.time() + seconds
        with contextlib.suppress(StackError):
            await until(lambda: asyncio.to_thread(complete), "every end is in the history", wait, poll=_POLL_SECONDS)
    return arrived
