"""A service beside a bare handler that runs the same statements: CPU of the serving process per call, in turn."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

import grpc
import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from focusmesh.scopes import USER_SCOPES

from bench.ceiling import CALLER
from bench.processes import cpu_seconds
from harness.waiting import wait_until
from mesh.runtime.signing_keys import kid_of
from stack.layout import LOOPBACK
from stack.stack import Stack

CEILING_OFFSET = 90
"""Of the bare handler's port."""
_IN_FLIGHT = 16
_TOKEN_SECONDS = 590
Metadata = tuple[str, str]
Signs = Callable[[str], Metadata]
"""Makes the header that names a user."""


class Compared(NamedTuple):
    """One operation."""

    operation: str
    cpu_ms: float
    """Of the service, its relay included, until its outbox is empty; median of the rounds."""
    ceiling_cpu_ms: float
    ratio: float
    """Median of the rounds' ratios."""
    limit: float
    """What the ratio may be."""

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.ratio <= self.limit


def compared(operation: str, served: Sequence[float], bare: Sequence[float], limit: float) -> Compared:
    """An operation by the CPU of one call in each round, in milliseconds."""
    ratio = median(one / other for one, other in zip(served, bare, strict=True))
    return Compared(operation, median(served), median(bare), ratio, limit)


class Side(NamedTuple):
    """The service or the bare handler, and users of its own with the header that names each."""

    target: str
    pid: int
    metadata: dict[str, tuple[Metadata]]


def sides(stack: Stack, service: str, bare_target: str, bare_pid: int, users: int) -> tuple[Side, Side]:
    """The service's first replica, and the bare handler."""
    replica, sign = stack.replicas_of(service)[0], signs(stack)

    def metadata(named: Signs) -> dict[str, tuple[Metadata]]:
        return {user: (named(user),) for user in (str(uuid.uuid4()) for _ in range(users))}

    served = Side(f"{LOOPBACK}:{replica.port(stack.ports)}", stack.pid(replica.name), metadata(sign))
    return served, Side(bare_target, bare_pid, metadata(lambda user: (CALLER, user)))


def signs(stack: Stack) -> Signs:
    """Signs tokens of users with the key of the stack."""
    key = load_pem_private_key(stack.keys.signing_key().read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)  # noqa: S101 (for the type checker)
    headers, now = {"kid": kid_of(key.public_key()), "typ": "at+jwt"}, int(time.time())
    claims = {
        **{"iss": "https://auth.focusmesh", "aud": "focusmesh", "scope": " ".join(USER_SCOPES)},
        **{"iat": now, "exp": now + _TOKEN_SECONDS},
    }

    def sign(user: str) -> Metadata:
        own = {"sub": user, "sid": str(uuid.uuid4()), "jti": str(uuid.uuid4())}
        return "authorization", f"Bearer {jwt.encode(claims | own, key, 'EdDSA', headers)}"

    return sign


async def timed(
    side: Side, rpc: str, bodies: Iterable[tuple[str, bytes]], database: "psycopg.Connection[Any]", schema: str
) -> float:
    """Sends the body of each user once; returns the CPU of one call in milliseconds. schema: whose outbox empties."""
    began, waiting = cpu_seconds(side.pid), list(bodies)
    count = len(waiting)
    async with grpc.aio.insecure_channel(side.target) as channel:
        call: Callable[..., Awaitable[bytes]] = channel.unary_unary(rpc)

        async def caller() -> None:
            while waiting:
                user, body = waiting.pop()
                await call(body, metadata=side.metadata[user], timeout=10)

        await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
    outbox = f"SELECT FROM {schema}.outbox LIMIT 1"
    published: Callable[[], bool] = lambda: database.execute(outbox).fetchone() is None  # noqa: E731 (waited for once)
    await asyncio.to_thread(wait_until, published, "the outbox is empty", 60)
    return (cpu_seconds(side.pid) - began) * 1000 / count
