"""The notification service behind its interceptor, with auth beside it, and servers that take what it sends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import psycopg
import pytest
from focusmesh.auth.v1 import user_service_pb2, user_service_pb2_grpc

from harness.http_receiver import Receiver, receiving
from harness.smtp_server import MailServer, taking_mail
from mesh.database.pool import Database
from services.auth import main as auth
from services.auth.settings import Settings as AuthSettings
from services.notification.main import build
from services.notification.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.contract.notification.people import Others, Person
from tests.support.databases import ServiceUrl, opened
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    """Takes the mails."""
    async with taking_mail() as server:
        yield server


@pytest.fixture
async def provider() -> AsyncIterator[Receiver]:
    """Takes the SMS."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A user's webhook, or the push service of a browser."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Of auth and of the service."""
    return Keys(State(tmp_path))


@pytest.fixture
async def auth_channel(service_url: ServiceUrl, valkey: str, keys: Keys) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to auth, which the service calls."""
    common = settings_for(
        database_url=service_url("auth"),
        redis_url=valkey,
        caller_keys=f"notification={keys.public_service_key('notification')}",
    )
    settings = AuthSettings(**vars(common), signing_key_file=str(keys.signing_key()), refresh_hash_key="of these tests")
    app = without_broker(auth.build(settings))
    async with serving(app) as channel:
        channel.target = settings.listen  # type: ignore[attr-defined]  # for those who call it by address
        yield channel


@pytest.fixture
def settle_seconds() -> float:
    """For so long what comes late waits for more."""
    return 0.3


@pytest.fixture
def lease_seconds() -> int:
    """After so long a message whose result was not noted is sent again."""
    return 60


@pytest.fixture
def settings(
    service_url: ServiceUrl,
    valkey: str,
    keys: Keys,
    auth_channel: grpc.aio.Channel,
    mail_server: MailServer,
    provider: Receiver,
    lease_seconds: int,
    settle_seconds: float,
) -> Settings:
    """Settings of the service, with every channel."""
    common = settings_for(
        database_url=service_url("notification"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("notification")),
        call_targets=f"auth={auth_channel.target}",  # type: ignore[attr-defined]
    )
    return Settings(
        **vars(common),
        secrets_key="of these tests",
        settle_seconds=settle_seconds,
        lease_seconds=lease_seconds,
        smtp_host="127.0.0.1",
        smtp_port=mail_server.port,
        smtp_tls="none",
        unsubscribe_key="of these tests" * 3,
        vapid_key_file=str(keys.vapid_key()),
        sms_url=f"{provider.url}/messages",
        sms_token="of these tests",
        outgoing_allowed_networks="127.0.0.0/8",
    )


@pytest.fixture
async def channel(settings: Settings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service; its events stay in the outbox."""
    async with serving(without_broker(build(settings, SignerKeys(signer)))) as channel:
        yield channel


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The database of the service, as its consumer has it."""
    async with opened(service_url("notification"), "notification", connections=3) as db:
        yield db


@pytest.fixture
def others(db: Database, settle_seconds: float) -> Others:
    """The other services."""
    return Others(db, settle_seconds)


@pytest.fixture
def person(channel: grpc.aio.Channel, signer: Signer) -> Person:
    """A user whom auth does not know."""
    return Person(channel, signer)


@pytest.fixture
def register(
    channel: grpc.aio.Channel, auth_channel: grpc.aio.Channel, service_url: ServiceUrl, signer: Signer
) -> Callable[..., Awaitable[Person]]:
    """Registers a user with a verified address; `time_zone` and other fields as in Register."""
    users = user_service_pb2_grpc.UserServiceStub(auth_channel)

    async def make(email: str = "ada@example.org", *, verified: bool = True, **fields: str) -> Person:
        request = user_service_pb2.RegisterRequest(email=email, password="a horse and 2 staples", **fields)
        user_id = (await users.Register(request)).user.id
        with psycopg.connect(service_url("auth")) as connection:
            connection.execute("UPDATE users SET email_verified = %s WHERE id = %s", (verified, user_id))
        return Person(channel, signer, user_id)

    return make
