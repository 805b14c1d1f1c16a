"""A stack: infrastructure, services and gateway as processes under one supervisor, with a state folder and a port base.

`make up` starts one; tests, proofs and benchmarks start their own, with their own folder and ports:

    with Stack(State(folder), Ports(base), components=("postgres", "kafka")) as stack: ...
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

import psutil

from stack import database, preflight, registry
from stack.errors import StackError
from stack.exclusive import locked
from stack.infrastructure import gateway, kafka, mail, postgres, services, valkey
from stack.infrastructure.services import Replica
from stack.keys import Keys
from stack.layout import LOOPBACK, Ports, State, private_file, private_folder
from stack.registry import Service
from stack.signals import deferred_signals
from stack.supervisor import Program, Status, Supervisor

INFRASTRUCTURE = (postgres.NAME, *valkey.NAMES, kafka.NAME, mail.NAME)
SERVICES = "services"
COMPONENTS = (*INFRASTRUCTURE, SERVICES, gateway.NAME)

_PLAN = "stack.json"
_POLL_SECONDS = 0.05
_COMPONENT_SECONDS = 60.0
_SERVICE_SECONDS = 90.0
Report = Callable[[str, float], None]
"""Receives the name of what became ready, and after how many seconds."""


class Stack:
    """One stack. Methods raise StackError, which says what to try."""

    def __init__(
        self,
        state: State,
        ports: Ports,
        *,
        components: Iterable[str] = COMPONENTS,
        only: Iterable[str] | None = None,
        replicas: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        durable: bool = True,
        report: Report = lambda _what, _seconds: None,
    ) -> None:
        """components: of COMPONENTS. only: names of services, instead of all. environment: for services and gateway.

        durable: off for throw-away stacks of tests: nothing is written that is not needed; Kafka has no password.
        """
        self.state, self.ports = state, ports
        self.keys = Keys(state)
        self.supervisor = Supervisor(state)
        self.registry = registry.load()
        self.cluster = database.Cluster(ports.postgres, self.keys)
        self._components = frozenset(components)
        self._only = tuple(only) if only is not None else None
        self._requested = dict(replicas or {})
        self._environment = {**(environment or {}), preflight.STATE_VARIABLE: str(state.folder)}
        self._durable = durable
        self._report = report
        self._abandoned = False

    @classmethod
    def running(cls, state: State) -> "Stack | None":
        """The stack that runs with this state; None when none does."""
        file = state.folder / _PLAN
        if Supervisor(state).pid is None or not file.exists():
            return None
        plan = json.loads(file.read_text())
        return cls(
            state,
            Ports(plan["port_base"]),
            components=plan["components"],
            only=[name for name in plan["replicas"] if name in registry.load().services],
            replicas=plan["replicas"],
            environment=plan["environment"],
            durable=plan["durable"],
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Members

    @property
    def services(self) -> tuple[Service, ...]:
        """The services whose schemas it holds, and which it runs when it runs services."""
        chosen = self.registry.services if self._only is None else self._only
        return tuple(map(self.registry.service, chosen))

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """Every service process of this stack."""
        return tuple(services.replicas(self.services, self._requested)) if SERVICES in self._components else ()

    def replicas_of(self, name: str) -> tuple[Replica, ...]:
        """The processes of one service."""
        self.registry.service(name)
        return tuple(replica for replica in self.replicas if replica.service.name == name)

    @property
    def programs(self) -> tuple[str, ...]:
        """Names of all its programs, in the order of starting."""
        infrastructure = [name for name in INFRASTRUCTURE if name in self._components]
        last = [gateway.NAME] if gateway.NAME in self._components else []
        return (*infrastructure, *(replica.name for replica in self.replicas), *last)

    def service_environment(self, replica: Replica) -> dict[str, str]:
        """The settings of a replica."""
        return {
            **services.environment(replica, self.replicas, self.registry, self.ports, self.keys),
            "FOCUSMESH_KAFKA_OPTIONS": self.broker.options,
            **self._environment,
        }

    @property
    def gateway_url(self) -> str:
        """Base URL of the REST API."""
        return f"http://{LOOPBACK}:{self.ports.gateway}"

    @property
    def gateway_target(self) -> str:
        """Address of the gRPC API."""
        return f"{LOOPBACK}:{self.ports.gateway}"

    @property
    def broker(self) -> kafka.Access:
        """The broker's address, and how its clients log in."""
        return kafka.Access(kafka.bootstrap(self.ports), self.keys.password(kafka.NAME) if self._durable else "")

    @property
    def valkey_url(self) -> str:
        """URL of the Valkey that every service follows."""
        return valkey.url(self.ports, self.keys)

    # Start and stop

    def start(self) -> None:
        """Starts everything and returns when it serves; whatever goes wrong, also Ctrl-C, leaves nothing behind."""
        private_folder(self.state.folder)
        with locked(self.state):
            if self.supervisor.pid is not None:
                raise StackError(f"a stack runs already in {self.state.folder}", advice="`make status`, `make down`")
            preflight.end(preflight.leftovers(self.state))
            preflight.free_ports(self.listeners())
            try:
                self._start()
            except BaseException:
                self._abandoned = True
                self._stop()
                raise

    def stop(self) -> None:
        """Stops everything in reverse order; nothing of it is left afterwards."""
        with locked(self.state):
            self._stop()

    def _start(self) -> None:
        began = time.monotonic()
        self._make_keys()
        with ThreadPoolExecutor() as pool:
            try:
                for prepared in [pool.submit(prepare) for prepare in self._preparations()]:
                    prepared.result()
                with deferred_signals():
                    self.supervisor.start(self._all_programs())
                self._write_plan()
                provisioning = [pool.submit(bring_up, began) for bring_up in self._infrastructure()]
                # Beside the infrastructure, which they wait for: most of their start is importing.
                for replica in self.replicas:
                    self.supervisor.start_program(replica.name)
                for provisioned in provisioning:
                    provisioned.result()
                if gateway.NAME in self._components:
                    self.supervisor.start_program(gateway.NAME)
                for healthy in [pool.submit(self._bring_up, replica.name, began) for replica in self.replicas]:
                    healthy.result()
                if gateway.NAME in self._components:
                    self._bring_up(gateway.NAME, began)
            except BaseException:
                self._abandoned = True
                raise

    def _stop(self) -> None:
        with deferred_signals():
            if self.supervisor.pid is not None:
                replicas = [replica.name for replica in self.replicas]
                self.supervisor.ask_to_stop(replicas)  # they drain for longer than the gateway does
                if gateway.NAME in self._components:
                    gateway.leave(self.state)
                    self.supervisor.stop([gateway.NAME])
                self.supervisor.wait_stopped(replicas)
                self.supervisor.stop(name for name in reversed(INFRASTRUCTURE) if name in self._components)
                self.supervisor.shutdown()
            preflight.end(preflight.leftovers(self.state))
            for name in ("supervisor", gateway.NAME):
                self.state.socket(name).unlink(missing_ok=True)

    def _make_keys(self) -> None:
        """Makes all secrets before threads share them."""
        keys = self.keys
        for make in (keys.signing_key, keys.kafka_cluster_id, keys.mail_certificate, keys.vapid_key):
            make()
        for name in (*valkey.NAMES, kafka.NAME, *services.SECRETS, f"postgres-{postgres.ADMINISTRATOR}"):
            self.keys.password(name)
        for service in self.registry.with_schema():
            for role in (service.schema, f"{service.schema}_owner"):
                self.keys.password(f"postgres-{role}")

    def _preparations(self) -> Iterator[Callable[[], object]]:
        keys, administrator = self.keys, self.keys.password(f"postgres-{postgres.ADMINISTRATOR}")
        steps: dict[str, Callable[[], object]] = {
            postgres.NAME: lambda: postgres.prepare(self.state, administrator),
            **{name: partial(valkey.prepare, self.state, self.ports, keys, name) for name in valkey.NAMES},
            kafka.NAME: lambda: kafka.prepare(self.state, self.ports, keys.kafka_cluster_id(), self.broker.password),
            gateway.NAME: self.prepare_gateway,
        }
        return (step for name, step in steps.items() if name in self._components)

    def _all_programs(self) -> Iterator[Program]:
        made: dict[str, Callable[[], Program]] = {
            postgres.NAME: lambda: postgres.program(self.state, self.ports.postgres, durable=self._durable),
            **{name: partial(valkey.program, self.state, name) for name in valkey.NAMES},
            kafka.NAME: lambda: kafka.program(self.state, durable=self._durable),
            mail.NAME: lambda: mail.program(self.state, self.ports, self.keys),
            gateway.NAME: lambda: gateway.program(self.state),
        }
        for name, make in made.items():
            if name in self._components:
                yield make().with_environment({preflight.STATE_VARIABLE: str(self.state.folder)})
        for replica in self.replicas:
            yield services.program(replica, self.service_environment(replica))

    def _infrastructure(self) -> Iterator[Callable[[float], None]]:
        steps: dict[str, Callable[[float], None]] = {
            postgres.NAME: self._bring_up_postgres,
            **{name: partial(self._bring_up, name) for name in valkey.NAMES},
            kafka.NAME: self._bring_up_kafka,
            mail.NAME: partial(self._bring_up, mail.NAME),
        }
        return (step for name, step in steps.items() if name in self._components)

    def _bring_up_postgres(self, began: float) -> None:
        self.supervisor.start_program(postgres.NAME)
        url = self.cluster.administrator_url()
        self.wait_for(postgres.NAME, lambda: postgres.responses(url), _COMPONENT_SECONDS)
        self._report_ready(postgres.NAME, began)
        database.provision(self.cluster, self.services)
        self._report_ready("schemas", began)

    def _bring_up_kafka(self, began: float) -> None:
        self.supervisor.start_program(kafka.NAME)
        client = kafka.admin(self.broker.client)
        self.wait_for(kafka.NAME, lambda: kafka.responses(client), _COMPONENT_SECONDS)
        self._report_ready(kafka.NAME, began)
        kafka.make_topics(client, self.registry.all_topics())
        probed = next(iter(self.registry.topics))
        self.wait_for(kafka.NAME, lambda: kafka.coordinates(self.broker.client, probed), _COMPONENT_SECONDS)
        self._report_ready("topics", began)

    def _bring_up(self, name: str, began: float) -> None:
        self.supervisor.start_program(name)
        self.wait_healthy(name)
        self._report_ready(name, began)

    # One program of a running stack

    def status(self) -> dict[str, Status]:
        """Every program, as the supervisor sees it."""
        return self.supervisor.statuses()

    def pid(self, name: str) -> int:
        """Process ID of a running program."""
        status = self.status()[name]
        if not status.pid:
            raise self.supervisor.failure(name, f"{name} does not run ({status.state})")
        return status.pid

    def kill(self, name: str) -> None:
        """Kills a program with SIGKILL, like a crash; the supervisor starts it again."""
        os.kill(self.pid(name), signal.SIGKILL)

    def restart(self, name: str) -> None:
        """Stops a program as its stop signal asks, starts it, and returns when it is healthy and is sent calls."""
        if name == gateway.NAME:
            self.prepare_gateway()
            gateway.leave(self.state)
        self.supervisor.stop([name])
        self.supervisor.start_program(name)
        self.wait_healthy(name)
        if gateway.NAME in self._components:
            ports = [port for replica in self.replicas if replica.name == name for port in self._ports_of(replica)]
            self.wait_for(name, lambda: gateway.sends_to(self.state, ports), _SERVICE_SECONDS)

    def prepare_gateway(self) -> bool:
        """Writes the gateway's configuration; returns whether the contract has changed since it was written."""
        return gateway.prepare(self.state, self.ports, self.replicas, self._environment)

    def restart_service(self, name: str) -> None:
        """Restarts a service, one replica after the other, each healthy before the next one goes."""
        for replica in self.replicas_of(name):
            self.restart(replica.name)

    def healthy(self, name: str) -> bool:
        """Whether a program does its work, by its own protocol."""
        if name == postgres.NAME:
            return postgres.responses(self.cluster.administrator_url())
        if name in valkey.NAMES:
            return valkey.responses(valkey.url(self.ports, self.keys, name))
        if name == kafka.NAME:
            return kafka.responses(kafka.admin(self.broker.client))
        if name == mail.NAME:
            return mail.responses(self.ports.mail, self.keys.mail_certificate()[0])
        if name == gateway.NAME:
            every = [port for replica in self.replicas for port in self._ports_of(replica)]
            return gateway.sends_to(self.state, every) and gateway.responses(self.ports)
        replica = next(replica for replica in self.replicas if replica.name == name)
        return services.serving(replica.port(self.ports))

    def wait_healthy(self, name: str, seconds: float = _SERVICE_SECONDS) -> None:
        """Waits until a program does its work."""
        self.wait_for(name, lambda: self.healthy(name), seconds)

    def wait_for(self, name: str, condition: Callable[[], bool], seconds: float) -> None:
        """Waits for a condition on a program; raises StackError at the deadline, or when the program does not stay."""
        deadline = time.monotonic() + seconds
        first_start = 0
        while not condition():
            status = self.status()[name]
            first_start = first_start or status.started
            if status.state in {"BACKOFF", "FATAL", "EXITED"} or status.started > first_start > 0:
                raise self.supervisor.failure(name, f"{name} ends as soon as it is started")
            if self._abandoned:
                raise StackError("the start was given up", advice="`make up`")
            if time.monotonic() > deadline:
                raise self.supervisor.failure(name, f"{name} was not ready after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def memory(self, pid: int) -> int:
        """Bytes that a process and its children hold; what they share is counted once."""
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            return sum(int(process.memory_full_info().pss) for process in family)
        except psutil.Error:
            return 0

    def _report_ready(self, what: str, began: float) -> None:
        self._report(what, time.monotonic() - began)

    def _ports_of(self, replica: Replica) -> Iterator[int]:
        yield replica.port(self.ports)
        yield from filter(None, (replica.websocket_port(self.ports), replica.http_port(self.ports)))

    def listeners(self) -> list[int]:
        """Every port that it listens on."""
        ports = self.ports
        ports_of = {
            postgres.NAME: [ports.postgres],
            **{name: [port] for name, port in ports.valkey.items()},
            kafka.NAME: [ports.kafka, ports.kafka_controller],
            mail.NAME: [ports.mail],
            gateway.NAME: [ports.gateway, ports.gateway_metrics, ports.gateway_internal],
        }
        of_services = [port for replica in self.replicas for port in self._ports_of(replica)]
        return [port for name in self._components & set(ports_of) for port in ports_of[name]] + of_services

    def _write_plan(self) -> None:
        plan = {
            "port_base": self.ports.base,
            "components": sorted(self._components),
            "replicas": {
                service.name: self._requested.get(service.name, service.replicas) for service in self.services
            },
            "environment": self._environment,
            "durable": self._durable,
        }
        private_file(self.state.folder / _PLAN).write_text(json.dumps(plan, indent=1))
