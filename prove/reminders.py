"""Reminders: very many are due within a minute while replicas are killed; each fires and arrives once, none early."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.parser import BytesHeaderParser
from email.policy import default
from itertools import chain
from typing import NamedTuple

import psycopg

from harness.waiting import until
from mesh.database.migrate import head
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from prove import checker, faults
from prove.checker import REMINDER_FIRED, REMINDER_SHOWN, Message
from prove.history import NOTIFICATION_EVENTS, REMINDERS, Broker
from prove.plan import Plan
from prove.promises import Promise, note
from services.notification.store import recipients
from services.recurrence.model import OpenTask, Reminder
from services.recurrence.store import tasks
from stack.database import MAIN
from stack.errors import StackError
from stack.infrastructure import mail
from stack.stack import Stack

_KILL_EACH_SECONDS = 10.0
_ALLOWED_SECONDS = 5.0
"""From the instant of a reminder to its arrival, at the 99th percentile: ADR 22."""
_KILLED = ("recurrence", "notification")
_MAIL_EVERY = 10
"""Of so many users one gets mails too."""
_SEEDED_A_SECOND = 1000
"""Reminders that are surely written in a second."""
_BATCH = 500
_POLL_SECONDS = 0.5
_REGISTER = """
    INSERT INTO auth.users (id, email, password_hash, email_verified)
    SELECT id, id || '@example.org', '', true FROM unnest(%s::uuid[]) AS id"""
_LEDGER = """
    SELECT user_id::text, channel, status FROM notification.notifications
    WHERE notification_type = 'reminder' AND created_at >= to_timestamp(%s)"""
_OVER = """
    SELECT count(*) FROM notification.notifications
    WHERE notification_type = 'reminder' AND status = 'sent' AND created_at >= to_timestamp(%s)"""


class _Mail(NamedTuple):
    """A mail that the catcher took."""

    user_id: str
    message_id: str
    at: int


async def prove(stack: Stack, plan: Plan) -> list[Promise]:
    """Lets reminders become due while one replica after the other is killed; returns what holds."""
    began, spread = time.time(), round(plan.reminder_seconds * SECOND)
    first = clock.now() + round((4 + plan.reminders / _SEEDED_A_SECOND) * SECOND)
    dues = {new_id(): first + number * spread // plan.reminders for number in range(plan.reminders)}
    mailed = list(dues)[::_MAIL_EVERY]
    broker = Broker(stack.broker.client)
    since = await asyncio.to_thread(broker.ends, [REMINDERS, NOTIFICATION_EVENTS])
    await asyncio.gather(_seed_reminders(stack, dues), _seed_mails(stack, mailed))
    replicas = [each for pair in zip(*map(stack.replicas_of, _KILLED), strict=True) for each in pair]
    note(
        f"{len(dues)} reminders are due within {plan.reminder_seconds:.0f} s, while {len(replicas)} replicas are killed"
    )
    killing = asyncio.create_task(faults.kill_in_turn(stack, replicas, _KILL_EACH_SECONDS / len(replicas)))
    try:
        await asyncio.sleep(max(dues.values()) / SECOND - time.time())
        await _settle(stack, began, len(dues) + len(mailed), plan.settle_seconds)
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
    messages = await asyncio.to_thread(broker.read, since, dues.keys())
    broker.close()
    mails = [each for each in await asyncio.to_thread(lambda: list(_mails(stack))) if each.user_id in dues]
    return [_once(stack, began, dues, mailed, messages, mails), _in_time(dues, messages, mails)]


async def _seed_reminders(stack: Stack, dues: Mapping[str, int]) -> None:
    """Writes for each user a task that reminds. dues: by user."""
    made = [OpenTask(new_id(), user, "Water the plants", False, None, None, None, None) for user in dues]
    database = Database(stack.cluster.runtime_url("recurrence"), revision=head("recurrence"))
    database.start()
    try:
        await until(lambda: database.ready, "the database responds")
        for begin in range(0, len(made), _BATCH):
            some = made[begin : begin + _BATCH]
            async with database.transaction() as tx:
                await tasks.put_tasks(tx, some)
                due = [Reminder(task.id, "", task.user_id, dues[task.user_id], True) for task in some]
                await tasks.put_reminders(tx, due)
    finally:
        await database.close()


async def _seed_mails(stack: Stack, users: Sequence[str]) -> None:
    """Registers users who want mails."""
    with psycopg.connect(stack.cluster.administrator_url(MAIN)) as connection:
        connection.execute(_REGISTER, (list(users),))
    database = Database(stack.cluster.runtime_url("notification"), revision=head("notification"))
    database.start()
    try:
        await until(lambda: database.ready, "the database responds")
        async with database.connection() as tx:
            for user in users:
                wanted = recipients.unknown(user)._replace(time_zone="UTC", channels={"email": [True, False]})
                await recipients.save_preferences(tx, wanted, SideEffects((), None, ""))
    finally:
        await database.close()


async def _settle(stack: Stack, began: float, expected: int, seconds: float) -> None:
    with psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True) as connection:

        def complete() -> bool:
            [sent] = connection.execute(_OVER, (began,)).fetchone() or (0,)
            return int(sent) >= expected

        with contextlib.suppress(StackError):  # the checker says what is missing
            await until(lambda: asyncio.to_thread(complete), "every reminder arrived", seconds, poll=_POLL_SECONDS)


def _mails(stack: Stack) -> Iterator[_Mail]:
    """What the catcher has; the name of a file begins with the nanosecond of its arrival."""
    parser = BytesHeaderParser(policy=default)
    for path in mail.caught(stack.state):
        headers = parser.parsebytes(path.read_bytes())
        user_id = str(headers["X-RcptTo"]).partition("@")[0]
        yield _Mail(user_id, str(headers["Message-ID"]), int(path.name.partition("-")[0]) // 1000)


def _once(
    stack: Stack,
    began: float,
    dues: Mapping[str, int],
    mailed: Sequence[str],
    messages: Sequence[Message],
    mails: Sequence[_Mail],
) -> Promise:
    instants = {user: clock.to_datetime(due) for user, due in dues.items()}
    expected = [*((user, "in_app") for user in dues), *((user, "email") for user in mailed)]
    with psycopg.connect(stack.cluster.administrator_url(MAIN)) as connection:
        ledger = connection.execute(_LEDGER, (began,)).fetchall()
    sent = {(each.user_id, each.message_id) for each in mails}
    return Promise.unless(
        [
            *checker.wrong_reminders(instants, messages),
            *checker.wrong_ledger(expected, [row for row in ledger if row[0] in dues]),
            *checker.wrong_counts("mail", mailed, [user for user, _ in sent]),
            *(f"a mail came {dues[each.user_id] - each.at} µs early" for each in mails if each.at < dues[each.user_id]),
        ],
        "a reminder fires once and arrives once, never early, whatever is killed",
        f"{len(dues)} reminders, {len(sent)} mails; {len(mails) - len(sent)} of them handed over again",
    )


def _in_time(dues: Mapping[str, int], messages: Sequence[Message], mails: Sequence[_Mail]) -> Promise:
    fired, shown = (
        _delays(dues, ((one.user_id, one.published.timestamp()) for one in messages if one.type == kind))
        for kind in (REMINDER_FIRED, REMINDER_SHOWN)
    )
    taken = _delays(dues, ((each.user_id, each.at / SECOND) for each in mails))
    arrived = sorted(chain(shown, taken))
    everything = len(shown) == len(dues) and len(taken) == len(list(dues)[::_MAIL_EVERY])
    slow = _percentile(arrived, 99) if everything else float("inf")
    return Promise(
        f"a reminder arrives within {_ALLOWED_SECONDS:.0f} s of its instant (p99)",
        f"{slow:.2f} s; p50 {_percentile(arrived, 50):.2f} s; fired {_percentile(fired, 99):.2f} s,"
        f" in the app {_percentile(shown, 99):.2f} s, mails {_percentile(taken, 99):.2f} s (p99)",
        slow <= _ALLOWED_SECONDS,
    )


def _delays(dues: Mapping[str, int], arrivals: Iterable[tuple[str, float]]) -> list[float]:
    """Seconds from the instant of each reminder to its first arrival, in order of size."""
    first: dict[str, float] = {}
    for user, at in arrivals:
        first[user] = min(at, first.get(user, at))
    return sorted(at - dues[user] / SECOND for user, at in first.items())


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, len(ordered) * percent // 100 - 1)] if ordered else float("inf")
