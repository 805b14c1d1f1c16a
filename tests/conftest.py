"""The real infrastructure that tests run on, started when the first test asks for it and stopped at the end.

Every run has ports and folders of its own under .run/, so it never meets a running stack or another run.
"""

from collections.abc import Generator, Iterator

import psutil
import pytest
import redis
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from stack import database
from stack.commands import down
from stack.layout import RUN, State
from tests.support.databases import Copies, ServiceUrl
from tests.support.stacks import started
from tests.support.tokens import Signer
from tests.support.turns import turn

SUITES = (
    *("e2e/test_proofs", "e2e/stack", "events", "e2e", "contract/audit", "contract/realtime", "contract/mesh"),
    *("contract", "gateway", "store", "unit"),
)
"""What one process runs for what it shares; about in the order of length, so that the last ones are short."""


def suite_of(nodeid: str) -> str:
    """The suite of a test."""
    return next(name for name in SUITES if nodeid.startswith(f"tests/{name}"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the longest suites first where processes share the work."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: SUITES.index(suite_of(item.nodeid)))


class SuiteScheduling(LoadScopeScheduling):
    """Gives each process whole suites, so that what a suite shares starts once.

    xdist's own `loadgroup` does not work with pytest 9.2: it marks groups in the test's ID, which cannot be set there.
    """

    def _split_scope(self, nodeid: str) -> str:
        return suite_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Tells xdist how to share the tests."""
    return SuiteScheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Gives a test marked `alone` the machine to itself; before its time-out begins to run."""
    with turn(RUN, alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_dead_runs() -> None:
    """Ends what a run left behind that was killed."""
    for folder in RUN.glob("test-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            down.stop(State(folder))
            down.erase(State(folder))


@pytest.fixture(scope="session")
def cluster() -> Iterator[database.Cluster]:
    """Postgres with every schema migrated in one database, which is there to be copied."""
    with started("postgres", components=("postgres",), durable=False) as stack:
        yield stack.cluster


@pytest.fixture(scope="session")
def _copies(cluster: database.Cluster) -> Copies:
    return Copies(cluster)


@pytest.fixture
def database_name(_copies: Copies) -> Iterator[str]:
    """A database that the test has to itself: a copy of the migrated one, without rows."""
    with _copies.borrowed() as name:
        yield name


@pytest.fixture
def postgres(cluster: database.Cluster, database_name: str) -> str:
    """Connection string of the administrator to the test's database."""
    return cluster.administrator_url(database_name)


@pytest.fixture
def service_url(cluster: database.Cluster, database_name: str) -> ServiceUrl:
    """`service_url("todo")` is the connection string of todo's runtime role to the test's database."""
    return lambda service: cluster.runtime_url(service, database_name)


@pytest.fixture(scope="session")
def _valkey() -> Iterator[str]:
    with started("valkey", components=("valkey",)) as stack:
        yield stack.valkey_url


@pytest.fixture
def valkey(_valkey: str) -> str:
    """Connection string of Valkey, empty."""
    with redis.Redis.from_url(_valkey) as client:
        client.flushall()
    return _valkey


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap address of the broker, with the topics of the registry."""
    with started("kafka", components=("kafka",), durable=False) as stack:
        yield stack.broker.bootstrap


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Signs the tokens of this run, for services that run with its key."""
    return Signer()
