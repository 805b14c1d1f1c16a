"""`make bench`: starts a stack of its own, measures, stops it, and writes `.run/bench/report.md` and `latest.json`.

QUICK=1 measures the same with few and short rounds, in under two minutes. The exit status is 0 when every call
succeeded and every create is in the database exactly once; a missed target makes a full run end with status 1.
"""

import json
import os
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

import httpx

from bench import calendar, delivery, drain, focus, nine_services, reminders, report
from bench.accounts import Account
from bench.cases import Addresses
from bench.dataset import Dataset
from bench.machine_facts import facts
from bench.pairs import Compared
from bench.processes import Generator, Module
from bench.startup import Memory, StartUp, memory_of, timed_start, timed_stop
from bench.throughput import Bench, Round
from harness.accounts import Accounts
from harness.waiting import wait_until
from stack.commands.topics import behind
from stack.database import MAIN
from stack.errors import run_command
from stack.layout import LOOPBACK, RUN, State
from stack.preflight import claim_ports
from stack.signals import install_signal_handlers
from stack.stack import Stack

FOLDER = RUN / "bench"
STATES = RUN / "bench-stack"
"""A folder for each run, named by its ports: two runs at once do not meet."""
_CEILING, _FASTAPI, _SINK = 90, 91, 92
"""Offsets of the ports of the benchmark's own processes, before those of the services."""
_UNLIMITED = "1000000 then 1000000/s"
PACES = (100, 300)
_CATCH_UP_SECONDS = 300.0


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    quick: bool
    rounds: tuple[Round, ...]
    delivery_seconds: float
    drained_events: int


QUICK = Plan(
    quick=True,
    rounds=(Round((1, 16, 64), 0.5, 0.15), *(Round((16,), 0.5, 0.15),) * 2),
    delivery_seconds=3,
    drained_events=20_000,
)
FULL = Plan(
    quick=False,
    rounds=(*(Round((1, 16, 64), 1.5, 0.5, tries=3),) * 3, *(Round((16,), 1.5, 0.3, tries=3),) * 10),
    delivery_seconds=20,
    drained_events=100_000,
)


class Session:
    """One benchmark run on its own stack."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ports, self._claim = claim_ports()
        rates = {f"FOCUSMESH_GATEWAY_RATE_{kind}": _UNLIMITED for kind in ("ADDRESS", "CREDENTIAL", "READ", "WRITE")}
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self._own(_SINK)}"}
        self._state = State(STATES / str(self._ports.base))
        self._machine = Stack(self._state, self._ports, environment={**rates, **endpoint})
        self._sink_file = self._state.folder / "spans.json"

    def run(self) -> report.Findings:
        """Measures everything; whatever happens, nothing is left running. The folder of a failed run is kept."""
        shutil.rmtree(self._state.folder, ignore_errors=True)
        self._state.folder.mkdir(parents=True)
        with ExitStack() as stack:
            stack.enter_context(self._claim)
            stack.enter_context(self._sink())
            stack.callback(self._machine.stop)
            say("starting the stack on an empty folder")
            cold = timed_start(self._machine)
            say(f"started in {cold:.1f} s; starting it again")
            timed_stop(self._machine)
            warm = timed_start(self._machine)
            say(f"started in {warm:.1f} s")
            dataset = Dataset(self._machine.cluster.administrator_url(MAIN))
            stack.callback(dataset.close)
            machine = facts(dataset.server_version())
            http = stack.enter_context(httpx.Client(base_url=self._machine.gateway_url, timeout=15))
            bench, deliveries, memory = self._under_load(http, dataset)
            say("relay")
            drained = drain.measure(self._machine, dataset, self._plan.drained_events)
            say(f"{drained.per_second:,.0f} events a second; stopping the stack")
            self._start_consumers()
            down = timed_stop(self._machine)
        start_up = StartUp(cold, warm, down, memory)
        nine, compared = None, list[Compared]()
        if not self._plan.quick:
            say("start of nine services")
            nine = nine_services.measure()
            say("focus sessions")
            compared += focus.measure()
            say("recurring tasks and reminders")
            compared += reminders.measure()
            say("the calendar")
            compared += calendar.measure()
        spans = sum(json.loads(self._sink_file.read_text()).values())
        shutil.rmtree(self._state.folder)
        return report.Findings(
            machine,
            self._plan.quick,
            bench.rows(),
            deliveries,
            drained,
            start_up,
            nine,
            compared,
            bench.failures,
            spans,
            bench.others(),
        )

    def _under_load(self, http: httpx.Client, dataset: Dataset) -> tuple[Bench, list[delivery.Delivery], list[Memory]]:
        accounts = Accounts(http)
        creator, lister = Account(accounts), Account(accounts)
        dataset.seed(lister.user_id)
        with self._ceiling() as ceiling, self._fastapi() as fastapi, Generator() as generator:

            def pids() -> dict[str, int]:
                own = {"ceiling": ceiling.pid, "fastapi": fastapi.pid, "todo": self._machine.pid("todo-0")}
                own["stack"] = self._machine.supervisor.pid or 0
                return {**own, **{name: self._machine.pid(name) for name in ("gateway", "postgres")}}

            bench = Bench(generator, dataset, self._addresses(), pids, creator, lister)
            # The consumers are not compared, and would take CPU from todo alone.
            self._machine.supervisor.stop(drain.CONSUMERS)
            bench.run(self._plan.rounds, say)
            bench.check()
            self._start_consumers()
        say("waiting until the consumers have caught up")
        self._wait_for_consumers()
        dataset.settle()
        say("commit to effect")
        deliveries = delivery.measure(
            [Account(accounts) for _ in range(8)],
            self._machine.gateway_target,
            self._machine.cluster.administrator_url(MAIN),
            PACES,
            self._plan.delivery_seconds,
        )
        return bench, deliveries, memory_of(self._machine)

    def _start_consumers(self) -> None:
        for name in drain.CONSUMERS:
            self._machine.supervisor.start_program(name)
        for name in drain.CONSUMERS:
            self._machine.wait_healthy(name)

    def _wait_for_consumers(self) -> None:
        """Returns when what consumes has applied every event of the rounds."""
        wait_until(
            lambda: not any(behind(self._machine.broker.client, topic, group) for topic, group in drain.CONSUMED),
            "the consumers catch up",
            _CATCH_UP_SECONDS,
            poll=1,
            advice=", ".join(f"`make logs S={name}`" for name in drain.CONSUMERS),
        )

    def _own(self, offset: int) -> str:
        return f"{LOOPBACK}:{self._ports.base + offset}"

    def _addresses(self) -> Addresses:
        todo = self._machine.replicas_of("todo")[0].port(self._ports)
        return Addresses(self._own(_CEILING), self._own(_FASTAPI), f"{LOOPBACK}:{todo}", self._machine.gateway_target)

    def _sink(self) -> Module:
        arguments = (self._own(_SINK), str(self._sink_file))
        return Module("bench.sink", arguments, self._ports.base + _SINK, self._state.folder / "sink.log")

    def _ceiling(self) -> Module:
        url = self._machine.cluster.runtime_url("todo")
        port = self._ports.base + _CEILING
        return Module("bench.ceiling", (url, self._own(_CEILING)), port, self._state.folder / "ceiling.log")

    def _fastapi(self) -> Module:
        port = self._ports.base + _FASTAPI
        environment = {
            "DATABASE_URL": self._machine.cluster.runtime_url("todo"),
            "JWKS_URL": f"{self._machine.gateway_url}/.well-known/jwks.json",
            "PORT": str(port),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self._own(_SINK)}",
        }
        return Module("bench.fastapi_app", (), port, self._state.folder / "fastapi.log", environment)


def say(what: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def main() -> None:
    """Runs it, prints the report, and ends with 1 when a call failed or, in a full run, a target was missed."""
    install_signal_handlers()
    plan = QUICK if os.environ.get("QUICK", "") not in {"", "0"} else FULL
    began = time.monotonic()
    found = Session(plan).run()
    print(f"\n{report.write(found, FOLDER)}\nIn {time.monotonic() - began:.0f} s; written to {FOLDER}.")
    missed = [target.name for target in report.targets(found) if not target.holds]
    if found.failures or (missed and not plan.quick):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
