"""Every RPC is attacked in turn, while another user calls every service; then a control shows that it would be seen."""

import asyncio
import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import psycopg

from contract.methods import Method
from harness.accounts import Accounts
from harness.clients import Rest
from harness.mails import Mails
from harness.owners import Account
from harness.rpcs import EXPOSED, INTERNAL, request_class
from harness.waiting import until
from mesh.rpc.service_identity import ServiceSigner
from mesh.runtime.clock import SECOND, now
from mesh.runtime.signing_keys import private_key
from prove.neighbours.attack import Rest as RestRequest
from prove.neighbours.attack import attack_on, send
from prove.neighbours.measure import CALLS_PER_SECOND, Neighbour, neighbour
from prove.neighbours.results import ALLOWED_MS, GRPC, REST, SETTLE_SECONDS, Result, promises, result_of, together
from prove.neighbours.results import control as standstill_seen
from prove.neighbours.services import Events, LoopLogs, memory
from prove.plan import Plan
from prove.promises import Promise, note
from stack.database import MAIN
from stack.errors import StackError
from stack.layout import LOOPBACK
from stack.stack import Stack

_TRIES = 3
"""What exceeds is measured so often, and the median judged: the machine disturbs once, a request most times."""
_STANDSTILL_SECONDS = 0.3
_MAKES = ("Create", "Batch", "Add", "Register", "Import")
_ALWAYS = ("BatchCreateTasks", "ImportEvents", "VerifyAuditRecords", "CreateFocusSession")
"""Part of every quick run."""
_SEED_TASKS = """
    INSERT INTO todo.tasks (user_id, title, description, due_date)
    SELECT %s::uuid, repeat(E'\\n', 200) || number, repeat('"', 200), now() + number * interval '1 minute'
    FROM generate_series(1, %s) AS number"""


async def prove(stack: Stack, plan: Plan) -> list[Promise]:
    """Attacks as many RPCs as the plan says; returns what holds."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool, closing(Events(stack)) as events:
        async with neighbour(stack, EXPOSED) as other:
            proof = _Proof(stack, plan, pool, events, other)
            return await proof.run()


def chosen(plan: Plan) -> list[Method]:
    """The RPCs of a run, each service's writes before its reads: reads find what was written."""
    methods = [
        method for method in (*EXPOSED, *INTERNAL) if not method.client_streaming and plan.rpc in method.full_name
    ]
    if plan.attacked < len(methods):
        always = [method for method in methods if method.name in _ALWAYS]
        rest = [method for method in methods if method.name not in _ALWAYS]
        rng = random.Random(plan.seed)  # noqa: S311 (not a secret)
        methods = always + rng.sample(rest, max(0, plan.attacked - len(always)))
    return sorted(methods, key=lambda each: (each.owner, each.repeatable, not each.name.startswith(_MAKES), each.name))


class _Proof:
    """One run."""

    def __init__(self, stack: Stack, plan: Plan, pool: ProcessPoolExecutor, events: Events, other: Neighbour) -> None:
        self._stack, self._plan, self._pool, self._events, self._other = stack, plan, pool, events, other
        self._logs = LoopLogs(stack)
        self._least = round(plan.attack_seconds * CALLS_PER_SECOND)
        self._signers = {
            name: ServiceSigner(name, private_key(stack.keys.service_key(name).read_bytes()))
            for name in {caller for method in INTERNAL for caller in method.callers}
        }
        self._rest = Rest(stack.gateway_url)
        self._hostile: Account

    async def run(self) -> list[Promise]:
        """Everything, in order."""
        await self._change_users()
        calm = await self._measure("nobody", lambda: asyncio.sleep(self._plan.attack_seconds, Counter[str]()))
        rest = memory(self._stack)
        methods, owner, results = chosen(self._plan), "", list[Result]()
        note(f"{len(methods)} RPCs are attacked in turn; p99 of the other user without an attack {calm.p99_ms:.0f} ms")
        for method in methods:
            if method.owner != owner:  # tokens live for ten minutes
                owner = method.owner
                await self._change_users()
            results.append(result := await self._attacked(method))
            service, worst = result.slowest
            note(f"{result.rpc}: p99 {result.p99_ms:.0f} ms, of {service} {worst:.0f} ms; {result.codes}")
        grown = {name: held - rest[name] for name, held in memory(self._stack).items()}
        control = await self._measure("a standstill of todo", self._stand_still)
        self._write(results, calm, control, grown)
        return [*promises(results, grown, calm), standstill_seen(control)]

    async def _attacked(self, method: Method) -> Result:
        found: list[Result] = []
        while not found or (found[0].judged_ms > ALLOWED_MS and len(found) < _TRIES):
            target, token, given = await self._prepare(method)
            attack = await asyncio.to_thread(
                attack_on, method, target, token, given, self._plan.attack_seconds, self._plan.seed
            )
            call = partial(asyncio.get_running_loop().run_in_executor, self._pool, send, attack)
            result = await self._measure(method.full_name, call)
            by_rest = any(isinstance(request, RestRequest) for request in attack.requests)
            found.append(replace(result, ways=(GRPC, REST) if by_rest else (GRPC,), repeatable=method.repeatable))
        return together(found)

    async def _measure(self, name: str, attack: Any) -> Result:
        """What the other user observes during an attack, and until all of its events have arrived."""
        self._logs.lags()
        attacked, over = asyncio.Event(), asyncio.Event()
        measuring = asyncio.create_task(self._other.until(over.is_set, self._least, attacked.is_set))
        try:
            codes: Counter[str] = await attack()
            attacked.set()
            settled = await self._settled()
        finally:
            over.set()
            samples = await measuring
        return result_of(name, samples, codes, settled, self._logs.lags())

    async def _settled(self) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with suppress(StackError):  # a promise says so

            async def everywhere() -> bool:
                return not await asyncio.to_thread(self._events.on_their_way)

            await until(everywhere, "every event has arrived", SETTLE_SECONDS, poll=0.2)
        return loop.time() - began

    async def _prepare(self, method: Method) -> tuple[str, str, Mapping[str, Any]]:
        """Where an RPC is called, the token for it, and what exists for its fields."""
        given = await asyncio.to_thread(self._hostile.fitting, method)
        fields = request_class(method).DESCRIPTOR.fields_by_name
        given = {name: value for name, value in given.items() if name in fields}
        if method.exposed:
            return self._stack.gateway_target, "" if method.public else self._hostile.token, given
        [replica, *_] = self._stack.replicas_of(method.owner)
        token = self._signers[method.callers[0]].token(method.owner, now=now() / SECOND)
        return f"{LOOPBACK}:{replica.port(self._stack.ports)}", token, given

    async def _change_users(self) -> None:
        """New accounts, for the hostile user with as many tasks as may be."""
        signer = self._signers["notification"].token
        mails = Mails(self._stack, lambda callee: signer(callee, now=now() / SECOND))
        self._hostile = await asyncio.to_thread(Account, self._rest, mails)
        await asyncio.to_thread(self._seed)
        self._other.token = (await asyncio.to_thread(Accounts(self._rest.http).sign_up)).token

    def _seed(self) -> None:
        with psycopg.connect(self._stack.cluster.administrator_url(MAIN), autocommit=True) as connection:
            connection.execute(_SEED_TASKS, (self._hostile.id, self._plan.hostile_tasks))

    async def _stand_still(self) -> Counter[str]:
        """The control: a service stops once for 300 ms, as if its loop were kept."""
        [todo, *_] = self._stack.replicas_of("todo")
        pid = self._stack.pid(todo.name)
        await asyncio.sleep(self._plan.attack_seconds / 3)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(_STANDSTILL_SECONDS)
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(self._plan.attack_seconds / 3)
        return Counter()

    def _write(self, results: Sequence[Result], calm: Result, control: Result, grown: Mapping[str, int]) -> None:
        report = {
            "seed": self._plan.seed,
            "without an attack": asdict(calm),
            "control": asdict(control),
            "bytes over the rest": grown,
            "attacks": [asdict(result) for result in sorted(results, key=lambda result: -result.p99_ms)],
        }
        path = self._plan.report.with_name("neighbours.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
