"""The history service behind its interceptor, one for the tests of a module; its clock goes on when a test says so."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from mesh.runtime.signing_keys import private_key
from services.history.main import build
from services.history.settings import Settings
from stack import database
from stack.keys import Keys
from stack.layout import State
from tests.contract.history.histories import Histories, Time
from tests.support.databases import opened
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture(scope="module")
def history_url(cluster: database.Cluster) -> Iterator[str]:
    """A database for the tests of a module: each takes users of its own."""
    name = f"test_{new_id().replace('-', '')}"
    database.clone(cluster, database.MAIN, name)
    yield cluster.runtime_url("history", name)
    database.drop(cluster, name)


@pytest.fixture(scope="module")
def time() -> Time:
    """The clock of the service."""
    return Time()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Of the service and of its operator."""
    return Keys(State(tmp_path_factory.mktemp("keys")))


@pytest.fixture
def operator(keys: Keys) -> Ed25519PrivateKey:
    """The key of the operator."""
    return private_key(keys.service_key("operator").read_bytes())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(
    history_url: str, _valkey: str, signer: Signer, time: Time, keys: Keys
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service; auth is away."""
    common = settings_for(
        database_url=history_url,
        redis_url=_valkey,
        service_key_file=str(keys.service_key("history")),
        call_targets="auth=127.0.0.1:1",
        caller_keys=f"operator={keys.public_service_key('operator')}",
    )
    async with serving(without_broker(build(Settings(**vars(common)), SignerKeys(signer), time.now))) as channel:
        yield channel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def db(history_url: str) -> AsyncIterator[Database]:
    """The database of the service, as its consumer has it."""
    async with opened(history_url, "history") as db:
        yield db


@pytest.fixture
def histories(channel: grpc.aio.Channel, db: Database, signer: Signer, time: Time) -> Histories:
    """Makes users with a history."""
    return Histories(channel, db, signer, time)
