"""Auth and pomodoro beside one another, for the tests of a module; pomodoro has a clock that a test sets."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.app import App
from mesh.runtime.ids import new_id
from mesh.runtime.signing_keys import kid_of
from services.auth import main as auth
from services.auth.settings import Settings as AuthSettings
from services.pomodoro.jobs import GuestEnder, GuestIntervalEnder, IntervalEnder
from services.pomodoro.main import build
from services.pomodoro.settings import Settings
from stack import database
from stack.keys import Keys
from stack.layout import State
from tests.contract.auth.requests import private_pem
from tests.contract.pomodoro.claims.claimants import Claimant, Guest, Sessions, a_guest, a_user
from tests.contract.pomodoro.devices import Time
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture(scope="module")
def signer() -> Signer:
    """The key of auth, with which the tests sign users' tokens too."""
    key = Ed25519PrivateKey.generate()
    return Signer(kid_of(key.public_key()), key)


@pytest.fixture(scope="module")
def urls(cluster: database.Cluster) -> Iterator[dict[str, str]]:
    """A database for the tests of a module, as each of the services sees it."""
    name = f"test_{new_id().replace('-', '')}"
    database.clone(cluster, database.MAIN, name)
    yield {service: cluster.runtime_url(service, name) for service in ("auth", "pomodoro")}
    database.drop(cluster, name)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Key pairs of services."""
    return Keys(State(tmp_path_factory.mktemp("keys")))


@pytest.fixture(scope="module")
def auth_settings(
    urls: dict[str, str], _valkey: str, keys: Keys, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> AuthSettings:
    """Settings of auth, which knows pomodoro as a caller."""
    file: Path = tmp_path_factory.mktemp("signing") / "signing.pem"
    file.write_bytes(private_pem(signer.key))
    callers = f"pomodoro={keys.public_service_key('pomodoro')}"
    common = settings_for(database_url=urls["auth"], redis_url=_valkey, caller_keys=callers)
    own = {"signing_key_file": str(file), "refresh_hash_key": "of these tests", "guests_per_network": 1000}
    return AuthSettings(**vars(common), **own)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def time() -> Time:
    """The clock of pomodoro."""
    return Time()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sessions(auth_settings: AuthSettings) -> AsyncIterator[Sessions]:
    """SessionService of auth."""
    async with serving(without_broker(auth.build(auth_settings))) as channel:
        yield Sessions(channel)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(
    auth_settings: AuthSettings, urls: dict[str, str], _valkey: str, keys: Keys, signer: Signer, time: Time
) -> App:
    """Pomodoro, in which intervals end, and guests too, only when somebody looks."""
    common = settings_for(
        database_url=urls["pomodoro"],
        redis_url=_valkey,
        service_key_file=str(keys.service_key("pomodoro")),
        call_targets=f"auth={auth_settings.listen};todo=127.0.0.1:1",
    )
    return without_broker(build(Settings(**vars(common)), SignerKeys(signer), time.now))


@pytest.fixture(scope="module")
def guest_ender(app: App) -> GuestEnder:
    """What ends claimed guests."""
    [ender] = [each for each in app.components if isinstance(each, GuestEnder)]
    return ender


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(app: App, guest_ender: GuestEnder, sessions: Sessions) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to pomodoro."""
    by_themselves = IntervalEnder | GuestIntervalEnder | GuestEnder
    app.components = [each for each in app.components if not isinstance(each, by_themselves)]
    async with serving(app) as channel:
        yield channel


@pytest_asyncio.fixture(loop_scope="module")
async def guest(channel: grpc.aio.Channel, sessions: Sessions, signer: Signer) -> Guest:
    """A new guest."""
    return await a_guest(channel, sessions, signer)


@pytest.fixture
def user(channel: grpc.aio.Channel, signer: Signer) -> Claimant:
    """A new user."""
    return a_user(channel, signer)
