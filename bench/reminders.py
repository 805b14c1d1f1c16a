"""Recurring tasks and reminders against bare handlers with the same statements: CPU of the serving process per call.

Alone: python -m bench.reminders [ROUNDS]. Every service runs by itself, so that none does another's work meanwhile.
Ends with status 1 when a limit is missed.
"""

import json
import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

import psycopg
import uvloop
from focusmesh.notification.v1 import notification_service_pb2, reminder_service_pb2
from focusmesh.recurrence.v1 import schedule_service_pb2
from focusmesh.todo.v1 import task_service_pb2
from focusmesh.type.v1 import recurrence_pb2

from bench.pairs import CEILING_OFFSET, Compared, Side, compared, sides, timed
from bench.processes import Module
from mesh.runtime import clock
from mesh.runtime.clock import DAY
from stack.database import MAIN
from stack.errors import run_command
from stack.layout import LOOPBACK, RUN, State
from stack.preflight import claim_ports
from stack.stack import Stack

CHANGE, READ, PREVIEW = 1.4, 1.3, 1.5
"""What the ratio of a change, of a read and of a preview may be (ADR 21)."""
USERS = 1000
ROUNDS = 12
SLOTS = 100
_READERS = 100
"""Users with notifications, who read them again and again."""
_PAGE = 50
_RULE = json.dumps(
    {
        **{"frequency": "daily", "interval": 1, "count": None, "until_time": None, "until_date": None},
        **{"by_day": [], "by_month_day": [], "by_month": [], "by_set_pos": [], "week_start": "MO"},
        "month_end": "clamp",
    }
)
_TASKS = """
    INSERT INTO todo.tasks (user_id, title, due_date, is_recurring, recurrence_schedule, recurrence, time_zone,
        repeat_from, series_id, slot)
    SELECT owner, 'Water the plants', now() + interval '1 day', true, 'daily', %s::jsonb, 'Europe/Berlin',
        'from_due_next_future', gen_random_uuid(), '2026-03-29T02:30:00' FROM unnest(%s::uuid[]) AS owner
    RETURNING user_id::text, id::text"""
_NOTIFICATIONS = """
    INSERT INTO notification.notifications (user_id, source_id, reminder_id, notification_type, status, outcome,
        payload, scheduled_for, sent_at)
    SELECT owner, gen_random_uuid(), gen_random_uuid(), 'reminder', 'sent', 'on_time',
        '{"title": "Water the plants", "due_date": 1770640200000000}', now() - number * interval '1 minute',
        now() - number * interval '1 minute'
    FROM unnest(%s::uuid[]) AS owner, generate_series(1, %s) AS number"""

Database = psycopg.Connection[Any]
Bodies = list[tuple[str, bytes]]
"""What each user sends."""


class Operation(NamedTuple):
    """One RPC, and what it is called with."""

    service: str
    rpc: str
    limit: float
    bodies: Callable[[Side, Database], Bodies]
    """Prepares a round."""

    @property
    def name(self) -> str:
        """As in the contract."""
        return self.rpc.rpartition("/")[2]


def _complete(side: Side, database: Database) -> Bodies:
    made = database.execute(_TASKS, (_RULE, list(side.metadata))).fetchall()
    database.execute("VACUUM ANALYZE todo.tasks, todo.outbox, todo.idempotency")
    request = task_service_pb2.CompleteTaskRequest
    return [(user, request(task_id=task, request_id=_id()).SerializeToString()) for user, task in made]


def _remind(side: Side, database: Database) -> Bodies:
    database.execute("VACUUM ANALYZE notification.reminders, notification.outbox, notification.idempotency")
    request = reminder_service_pb2.CreateReminderRequest(title="Water the plants")
    clock.set_timestamp(request.remind_time, clock.now() + DAY)

    def body() -> bytes:
        request.request_id = _id()
        return request.SerializeToString()

    return [(user, body()) for user in side.metadata]


def _read(side: Side, database: Database) -> Bodies:
    readers = list(islice(side.metadata, _READERS))
    [seeded] = database.execute(
        "SELECT count(*) FROM notification.notifications WHERE user_id = %s", (readers[0],)
    ).fetchone() or (0,)
    if not seeded:
        database.execute(_NOTIFICATIONS, (readers, 2 * _PAGE))
        database.execute("VACUUM ANALYZE notification.notifications")
    body = notification_service_pb2.ListNotificationsRequest(page_size=_PAGE).SerializeToString()
    return [(user, body) for user in readers] * (USERS // _READERS)


def _preview(side: Side, _: Database) -> Bodies:
    days = [recurrence_pb2.RecurrenceDay(weekday=day) for day in _WORKDAYS]
    draft = schedule_service_pb2.RecurrenceDraft(
        recurrence=recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY, by_day=days),
        time_zone="Europe/Berlin",
        start="2026-03-02T02:30:00",
    )
    body = schedule_service_pb2.PreviewRecurrenceRequest(draft=draft, count=SLOTS).SerializeToString()
    return [(user, body) for user in side.metadata]


_WORKDAYS = (recurrence_pb2.WEEKDAY_MONDAY, recurrence_pb2.WEEKDAY_THURSDAY)
OPERATIONS = (
    Operation("todo", "/focusmesh.todo.v1.TaskService/CompleteTask", CHANGE, _complete),
    Operation("notification", "/focusmesh.notification.v1.ReminderService/CreateReminder", CHANGE, _remind),
    Operation("notification", "/focusmesh.notification.v1.NotificationService/ListNotifications", READ, _read),
    Operation("recurrence", "/focusmesh.recurrence.v1.ScheduleService/PreviewRecurrence", PREVIEW, _preview),
)


def measure(rounds: int = ROUNDS) -> list[Compared]:
    """Each operation, on a stack of each service. Raises StackError."""
    found: list[Compared] = []
    for service in dict.fromkeys(operation.service for operation in OPERATIONS):
        found += _measure(service, [one for one in OPERATIONS if one.service == service], rounds)
    return found


def _measure(service: str, operations: Sequence[Operation], rounds: int) -> list[Compared]:
    ports, claim = claim_ports()
    folder = RUN / "bench-reminders"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as opened:
        opened.enter_context(claim)
        stack = opened.enter_context(Stack(State(folder), ports, only=["auth", service]))
        url, port = stack.cluster.runtime_url(service), ports.base + CEILING_OFFSET
        target = f"{LOOPBACK}:{port}"
        bare = opened.enter_context(
            Module("bench.reminders_ceiling", (service, url, target), port, folder / "ceiling.log")
        )
        database = opened.enter_context(psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True))
        pair = sides(stack, service, target, bare.pid, USERS)
        samples = uvloop.run(_rounds(operations, pair, database, rounds))
    shutil.rmtree(folder, ignore_errors=True)
    return [compared(one.name, *samples[one.name], one.limit) for one in operations]


async def _rounds(
    operations: Sequence[Operation], pair: Sequence[Side], database: Database, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """By operation: CPU of a call of the service, and of the bare handler, in each round."""
    samples: dict[str, tuple[list[float], list[float]]] = {one.name: ([], []) for one in operations}
    for number in range(rounds + 1):
        for index in (0, 1) if number % 2 else (1, 0):
            for one in operations:
                bodies = one.bodies(pair[index], database)
                took = await timed(pair[index], one.rpc, bodies, database, one.service)
                if number:  # the first round warms up
                    samples[one.name][index].append(took)
    return samples


def _id() -> str:
    return str(uuid.uuid4())


def main(arguments: list[str]) -> None:
    """Prints a line of JSON for each operation."""
    found = measure(*map(int, arguments[:1]))
    for row in found:
        print(json.dumps(row._asdict()))
    if not all(row.holds for row in found):
        sys.exit(1)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
