"""Requests that tests of auth send, and the errors they expect."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import NamedTuple

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from focusmesh.auth.v1 import session_pb2, session_service_pb2, session_service_pb2_grpc, user_pb2

from harness.waiting import until
from mesh.app import App
from mesh.events.producer import Producer
from mesh.events.relay import Relay
from services.auth.main import build
from services.auth.settings import Settings
from tests.support import errors
from tests.support.errors import ReceivedError

PASSWORD = "a horse, a battery and 2 staples"
NOWHERE = "redis://127.0.0.1:1/0"
"""The address of a Redis that is away."""


class Account(NamedTuple):
    """A user with a session."""

    user: user_pb2.User
    tokens: session_pb2.Tokens

    @property
    def bearer(self) -> tuple[tuple[str, str], ...]:
        """Metadata of a call in the user's name."""
        return bearer(self.tokens)

    @property
    def session_id(self) -> str:
        """The session, as its access token names it."""
        return str(jwt.decode(self.tokens.access_token, options={"verify_signature": False})["sid"])


def process(settings: Settings) -> App:
    """A process of the service that leaves its events in the outbox: tests read them there, and need no broker."""
    app = build(settings)
    return replace(
        app, components=[component for component in app.components if not isinstance(component, Relay | Producer)]
    )


@asynccontextmanager
async def without_redis(settings: Settings) -> AsyncIterator[grpc.aio.Channel]:
    """Runs a process whose settings lead to no Redis: it never says SERVING; the channel leads to it."""
    app, stop = process(settings), asyncio.Event()
    running = asyncio.create_task(app.serve(stop))
    try:
        assert app.database is not None
        database = app.database
        await until(lambda: database.ready, "the database is ready")
        async with grpc.aio.insecure_channel(settings.listen) as channel:
            yield channel
    finally:
        stop.set()
        await running


@contextmanager
def refused(
    reason: str, code: grpc.StatusCode, domain: str = "auth.focusmesh", **metadata: str
) -> Iterator[ReceivedError]:
    """Expects the block to fail with this error; yields it, filled in when the block ends."""
    with errors.refused(reason, **metadata) as error:
        yield error
    assert (error.code, error.domain) == (code, domain)


def bearer(tokens: session_pb2.Tokens) -> tuple[tuple[str, str], ...]:
    """Metadata of a call with these tokens."""
    return (("authorization", f"Bearer {tokens.access_token}"),)


async def login(
    sessions: session_service_pb2_grpc.SessionServiceStub, email: str, password: str = PASSWORD
) -> session_pb2.Tokens:
    """The tokens of a new session."""
    return (await sessions.Login(session_service_pb2.LoginRequest(email=email, password=password))).tokens


async def refresh(sessions: session_service_pb2_grpc.SessionServiceStub, token: str) -> session_pb2.Tokens:
    """What a refresh token is exchanged for."""
    return (await sessions.Refresh(session_service_pb2.RefreshRequest(refresh_token=token))).tokens


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """A signing key, as its file has it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PublicKey) -> bytes:
    """A published key, as its file has it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
