"""services.toml is compared with the code: a service is, publishes and consumes what it says there."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from harness.rpcs import METHODS
from mesh.app import App
from mesh.events.consumer import Consumer
from mesh.rpc.client import ServiceClient
from mesh.runtime import settings
from stack import registry
from stack.infrastructure.services import Replica, environment
from stack.keys import Keys
from stack.layout import Ports, State
from tools.paths import ROOT

REGISTRY = registry.load()
NAMES = sorted(REGISTRY.services)
TO_COME: set[str] = set()
"""Services of the specification that are not built yet; contracts may name them as callers before."""
SHARED_TOPICS = {"reminders": ["calendar", "recurrence"]}
"""Topics of several services: each event counts by itself there, so no order between the services is lost."""
OPERATOR = "operator"
"""Calls internal RPCs by hand, with a key of its own: `make service-token CALLER=operator CALLEE=history`."""


def module(service: str, name: str) -> ModuleType:
    return importlib.import_module(f"services.{service}.{name}")


@pytest.fixture
async def app(service: str, tmp_path: Path) -> App:
    """The service as the stack starts it, wired and not started. Async: clients of other services need a loop."""
    keys = Keys(State(tmp_path))
    replica = Replica(REGISTRY.service(service), 0)
    given = environment(replica, [replica], REGISTRY, Ports(20000), keys)
    app: App = module(service, "main").build(settings.load(module(service, "settings").Settings, given))
    return app


def test_every_service_is_registered() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/main.py")}
    assert folders == set(NAMES), "services/ and services.toml name different services"


def test_every_contract_has_a_service() -> None:
    owners = {method.owner for method in METHODS}
    assert owners == set(NAMES), "protos/ and services.toml name different services"


@pytest.mark.parametrize("service", NAMES)
def test_a_service_publishes_what_the_registry_says(service: str) -> None:
    has_events = (ROOT / "services" / service / "events.py").exists()
    topics = module(service, "events").TOPICS if has_events else ()
    assert sorted(topics) == sorted(REGISTRY.service(service).publishes), (
        f"TOPICS in services/{service}/events.py and `publishes` of [{service}] in services.toml differ"
    )


@pytest.mark.parametrize("service", NAMES)
async def test_a_service_consumes_what_the_registry_says(service: str, app: App) -> None:
    consumed = [topic for component in app.components if isinstance(component, Consumer) for topic in component.topics]
    assert sorted(consumed) == sorted(REGISTRY.service(service).consumes), (
        f"the consumer of services/{service}/main.py and `consumes` of [{service}] in services.toml differ"
    )


@pytest.mark.parametrize("service", NAMES)
async def test_a_service_calls_what_the_registry_says(service: str, app: App) -> None:
    called = {each.callee for each in app.components if isinstance(each, ServiceClient)}
    assert called == set(REGISTRY.service(service).calls), (
        f"the clients of services/{service}/main.py and `calls` of [{service}] in services.toml differ"
    )


@pytest.mark.parametrize("service", NAMES)
def test_a_service_calls_those_whose_contract_names_it(service: str) -> None:
    callees = {method.owner for method in METHODS if service in method.callers}
    assert callees == set(REGISTRY.service(service).calls), (
        f"the RPCs with {service} among their `callers` and `calls` of [{service}] in services.toml differ"
    )


def test_every_caller_of_the_contract_is_a_service() -> None:
    named = {caller for method in METHODS for caller in method.callers}
    assert named <= set(NAMES) | TO_COME | {OPERATOR}, "protos/ names callers that services.toml does not"
    assert not TO_COME & set(NAMES), "a service that is there is not to come any more: take its name from TO_COME"


@pytest.mark.parametrize("topic", REGISTRY.topics)
def test_a_topic_has_one_publisher(topic: str) -> None:
    publishers = [name for name in NAMES if topic in REGISTRY.service(name).publishes]
    if topic in SHARED_TOPICS:
        assert publishers == SHARED_TOPICS[topic]
    else:
        assert len(publishers) == 1, f"{topic} is published by {publishers}: one service owns a topic"


@pytest.mark.parametrize("service", NAMES)
async def test_a_service_has_tables_when_the_registry_says_so(service: str, app: App) -> None:
    has_revisions = (ROOT / "services" / service / "alembic").exists()
    assert has_revisions == bool(REGISTRY.service(service).schema), (
        f"[{service}]: `schema` and services/{service}/alembic"
    )
    assert (app.database is not None) == has_revisions, f"[{service}]: `schema` and the database in main.py"
