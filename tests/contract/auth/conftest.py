"""The auth service with its interceptor, one for the tests of a module, on a database of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from focusmesh.auth.v1 import (
    email_service_pb2_grpc,
    key_service_pb2_grpc,
    session_service_pb2_grpc,
    user_pb2,
    user_service_pb2,
    user_service_pb2_grpc,
)
from redis.asyncio import Redis

from mesh.database.pool import Database
from mesh.rpc.call import current_call
from mesh.runtime.ids import new_id
from services.auth.handlers import PasswordWorker
from services.auth.settings import Settings
from stack import database
from tests.contract.auth.mailbox import Mailbox
from tests.contract.auth.planner import Caller
from tests.contract.auth.requests import PASSWORD, Account, login, private_pem, process
from tests.support.databases import opened
from tests.support.serving import serving, settings_for

SettingsBuilder = Callable[..., Settings]
UserBuilder = Callable[..., Awaitable[user_pb2.User]]


@pytest.fixture(scope="module")
def auth_database(cluster: database.Cluster) -> Iterator[str]:
    """A database for the tests of a module: each builds accounts of its own."""
    name = f"test_{new_id().replace('-', '')}"
    database.clone(cluster, database.MAIN, name)
    yield cluster.runtime_url("auth", name)
    database.drop(cluster, name)


@pytest.fixture(scope="module")
def valkey_url(_valkey: str) -> str:
    """Connection string of Valkey, as the last test left it."""
    return _valkey


@pytest.fixture(scope="module")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of the key that signs."""
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    path.write_bytes(private_pem(Ed25519PrivateKey.generate()))
    return path


@pytest.fixture(scope="module")
def notification(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """The service that sends mails, with a key of its own."""
    return Caller("notification", tmp_path_factory.mktemp("callers"))


@pytest.fixture(scope="module")
def auth_settings(auth_database: str, valkey_url: str, signing_key: Path, notification: Caller) -> SettingsBuilder:
    """Settings of one more process of the service, with these changes."""

    def make(**changes: Any) -> Settings:
        common = settings_for(database_url=auth_database, redis_url=valkey_url)
        own = {
            "signing_key_file": str(signing_key),
            "refresh_hash_key": "a secret of these tests",
            "caller_keys": f"notification={notification.public_file}",
        }
        return Settings(**{**vars(common), **own, **changes})

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(auth_settings: SettingsBuilder) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service."""
    async with serving(process(auth_settings())) as channel:
        yield channel


@pytest.fixture
def users(channel: grpc.aio.Channel) -> user_service_pb2_grpc.UserServiceStub:
    return user_service_pb2_grpc.UserServiceStub(channel)


@pytest.fixture
def sessions(channel: grpc.aio.Channel, valkey: str) -> session_service_pb2_grpc.SessionServiceStub:
    """Forgets the failed attempts of other tests: all come from one address."""
    return session_service_pb2_grpc.SessionServiceStub(channel)


@pytest.fixture
def keys(channel: grpc.aio.Channel) -> key_service_pb2_grpc.KeyServiceStub:
    return key_service_pb2_grpc.KeyServiceStub(channel)


@pytest.fixture
def emails(channel: grpc.aio.Channel, valkey: str) -> email_service_pb2_grpc.EmailServiceStub:
    """Forgets the mails that other tests asked for: all come from one address."""
    return email_service_pb2_grpc.EmailServiceStub(channel)


@pytest.fixture
def mailbox(db: Database, channel: grpc.aio.Channel, notification: Caller) -> Mailbox:
    """What users are sent by mail."""
    return Mailbox(db, channel, notification)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def db(auth_database: str) -> AsyncIterator[Database]:
    """The service's database, to inspect and to age rows in."""
    async with opened(auth_database, "auth", connections=2) as database:
        yield database


@pytest_asyncio.fixture(loop_scope="module")
async def redis(valkey: str) -> AsyncIterator["Redis"]:
    """What the service's replicas share."""
    async with Redis.from_url(valkey, decode_responses=True) as redis:
        yield redis


@pytest.fixture
def a_user(users: user_service_pb2_grpc.UserServiceStub) -> UserBuilder:
    """Registers an account."""

    async def register(**fields: Any) -> user_pb2.User:
        request = user_service_pb2.RegisterRequest(
            **{"email": f"{new_id()}@example.com", "password": PASSWORD, **fields}
        )
        return (await users.Register(request)).user

    return register


@pytest.fixture
def signed_in(
    a_user: UserBuilder, sessions: session_service_pb2_grpc.SessionServiceStub
) -> Callable[..., Awaitable[Account]]:
    """Registers an account and begins a session of it."""

    async def sign_in(**fields: Any) -> Account:
        user = await a_user(**fields)
        return Account(user, await login(sessions, user.email))

    return sign_in


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What handlers do that takes time: statements, commands of Redis, hashes of passwords; not the periodic tasks."""
    done: list[str] = []

    def note(step: str) -> None:
        try:
            current_call()
        except LookupError:
            return
        done.append(step)

    execute, command, hashed = psycopg.AsyncConnection.execute, Redis.execute_command, PasswordWorker.hash

    def noted_execute(connection: Any, query: Any, *rest: Any, **options: Any) -> Any:
        note(query.decode() if isinstance(query, bytes) else str(query))
        return execute(connection, query, *rest, **options)

    def noted_command(client: Any, *words: Any, **options: Any) -> Any:
        note(str(words[0]))
        return command(client, *words, **options)

    def noted_hash(worker: Any, password: str) -> Any:
        note("hash a password")
        return hashed(worker, password)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", noted_execute)
    monkeypatch.setattr(Redis, "execute_command", noted_command)
    monkeypatch.setattr(PasswordWorker, "hash", noted_hash)
    return done
