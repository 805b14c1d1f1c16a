"""A run: users work and subscribers receive while a nemesis acts on the stack; and the history afterwards."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from harness.accounts import Accounts, User
from harness.waiting import until
from prove.callers import Callers
from prove.history import Broker, History, Partition, Tables
from prove.load import Load
from prove.plan import Plan
from prove.promises import note
from prove.subscribers import GrpcSubscriber, Subscriber, WebSocketSubscriber
from prove.users import chain_is_whole, sign_up
from stack.errors import StackError
from stack.stack import Stack

_OPEN_SECONDS = 20.0
_POLL_SECONDS = 0.2


@dataclass
class Run:
    """The load, the subscribers, and the history of one run."""

    users: list[User]
    load: Load
    subscribers: list[Subscriber]
    history: History
    broken_chains: list[User]
    seconds_to_settle: float


async def run_load(stack: Stack, plan: Plan, http: httpx.Client, nemesis: Callable[[Load], Awaitable[None]]) -> Run:
    """Runs the load and the subscribers during a nemesis, waits for the last effect, and collects the history."""
    rng = random.Random(plan.seed)  # noqa: S311 (a run can be repeated)
    broker, tables = Broker(stack.broker.client), Tables(stack)
    since = await asyncio.to_thread(broker.ends, stack.registry.all_topics())
    users = await sign_up(Accounts(http), plan.users)
    ids = {user.id for user in users}
    subscribers = [_subscriber(number, users, stack, rng) for number in range(plan.subscribers)]
    listening = [asyncio.create_task(subscriber.run()) for subscriber in subscribers]
    async with Callers(stack.gateway_target) as callers:
        await _wait_until_open(subscribers)
        load = Load(users, callers.every, plan.rate, rng)
        working = asyncio.create_task(load.run())
        try:
            await nemesis(load)
        finally:
            load.stop()
            await working
    note(f"{len(load.attempts)} requests were sent; waiting for their last effects")
    stopped = time.monotonic()
    await _settle(tables, ids, subscribers, plan.settle_seconds)
    settled = time.monotonic() - stopped
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    history = await asyncio.to_thread(_collect, stack, broker, since, ids)
    broker.close()
    broken = [user for user in users if not await asyncio.to_thread(chain_is_whole, http, user)]
    return Run(users, load, subscribers, history, broken, settled)


def _collect(stack: Stack, broker: Broker, since: Mapping[Partition, int], ids: set[str]) -> History:
    tables, topics = Tables(stack), stack.registry.topics
    ends = broker.ends({topic for topic, _ in since})
    dead = {topic: ends[topic, number] - before for (topic, number), before in since.items() if topic not in topics}
    messages = broker.read({partition: before for partition, before in since.items() if partition[0] in topics}, ids)
    return History(tables.tasks(ids), messages, tables.records(ids), dead)


def _subscriber(number: int, users: list[User], stack: Stack, rng: random.Random) -> Subscriber:
    """Three of four by WebSocket; some users have two."""
    kind = GrpcSubscriber if number % 4 == 3 else WebSocketSubscriber
    user = users[number * 3 // 4 % len(users)]
    return kind(f"subscriber {number + 1}", user, stack.gateway_target, random.Random(rng.random()))  # noqa: S311


async def _wait_until_open(subscribers: list[Subscriber]) -> None:
    """A subscriber that opens its stream after the load starts could rightly miss something."""
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            await asyncio.gather(*(subscriber.opened.wait() for subscriber in subscribers))
    except TimeoutError:
        closed = [subscriber for subscriber in subscribers if not subscriber.opened.is_set()]
        why = closed[0].errors[-1:] or ["no response"]
        raise StackError(f"{len(closed)} streams did not open: {why[0]}", advice="`make logs S=realtime-0`") from None


async def _settle(tables: Tables, ids: set[str], subscribers: list[Subscriber], seconds: float) -> None:
    """Returns when every change was recorded and received, or should have been: the checker reports what is missing."""
    watched = {subscriber.user.id for subscriber in subscribers}

    async def settled() -> bool:
        committed, waiting, recorded = await asyncio.to_thread(tables.progress, ids)
        if waiting or recorded < committed:
            return False
        changes = {user: (await asyncio.to_thread(tables.progress, {user}))[0] for user in watched}
        return all(len(subscriber.received) >= changes[subscriber.user.id] for subscriber in subscribers)

    with contextlib.suppress(StackError):
        await until(settled, "every effect arrived", seconds, poll=_POLL_SECONDS)
