"""Identity of users. Every service verifies the access token itself and trusts no header of the gateway.

A verified token is cached by its hash until it expires, because checking a signature costs about 100 µs; revoked
sessions are pushed to every replica and checked in memory.
"""

import asyncio
import base64
import hashlib
import re
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, NamedTuple

import grpc
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from focusmesh.auth.v1 import key_service_pb2, key_service_pb2_grpc

from mesh.rpc.revocations import Revocations
from mesh.runtime import tls
from mesh.runtime.errors import AudienceWrong, DependencyUnavailable, TokenInvalid, TokenMissing, TokenRevoked
from mesh.runtime.lifecycle import Component, PeriodicTask

TOKEN_TYPE = "at+jwt"  # noqa: S105 (a media type)
LONGEST_TOKEN_SECONDS = 600
_CLOCK_SECONDS = 30
"""How far the issuer's clock may be ahead."""
_CACHED = 20_000
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNKNOWN_KEY_SECONDS = 5.0


class Identity(NamedTuple):
    """The claims of a verified token."""

    user_id: str
    session_id: str
    scopes: frozenset[str]
    issued: int
    """Seconds since the epoch, like `expires`."""
    expires: int
    key_id: str = ""
    """ID of the key that verified the token."""
    guest_until: int = 0
    """When the guest ends, seconds since the epoch; 0 for a signed-in user."""


NOBODY = Identity("", "", frozenset(), 0, 0)


class KeySource(Component, ABC):
    """Source of public keys; ready when there are keys to verify with."""

    @abstractmethod
    def knows(self, kid: str) -> bool:
        """Whether the key is among those fetched last; makes no call."""

    @abstractmethod
    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """The key with this id, or None; raises DependencyUnavailable while no keys are known."""


class Tokens:
    """Verifies access tokens."""

    def __init__(self, keys: KeySource, revocations: Revocations, *, issuer: str, audience: str) -> None:
        """keys: of the issuer."""
        self.keys, self.revocations = keys, revocations
        self._issuer, self._audience = issuer, audience
        self._verified: OrderedDict[bytes, Identity] = OrderedDict()

    def cached(self, headers: Mapping[str, str | bytes]) -> Identity | None:
        """The caller, when its token was verified before and is still valid; else None. Raises TokenRevoked."""
        bearer = headers.get("authorization")
        if bearer is None:
            return None
        found = self._verified.get(_digest(bearer))
        if found is None or found.expires <= time.time() or not self.keys.knows(found.key_id):
            return None
        self.check_revoked(found)
        return found

    async def verify(self, headers: Mapping[str, str | bytes]) -> Identity:
        """The caller; raises TokenMissing, TokenInvalid, AudienceWrong, TokenRevoked or DependencyUnavailable."""
        bearer = headers.get("authorization")
        if bearer is None:
            raise TokenMissing
        token = bearer_token(bearer)
        if token is None:
            raise TokenInvalid
        identity = await self.verify_token(token)
        self._verified[_digest(bearer)] = identity
        if len(self._verified) > _CACHED:
            self._verified.popitem(last=False)
        return identity

    async def verify_token(self, token: str) -> Identity:
        """The claims of a token; raises TokenInvalid, AudienceWrong, TokenRevoked or DependencyUnavailable."""
        identity = await self._read(token)
        self.check_revoked(identity)
        return identity

    def check_revoked(self, identity: Identity) -> None:
        """Raises TokenRevoked; DependencyUnavailable while revocations are unknown."""
        if not self.revocations.ready:
            raise DependencyUnavailable("revocations")
        if self.revocations.ended(identity.user_id, identity.session_id, identity.issued):
            raise TokenRevoked

    async def _read(self, token: str) -> Identity:
        try:
            header = jwt.get_unverified_header(token)
            # Only the algorithm, the type and the key ID are read: `jku`, `jwk` and `x5u` would name untrusted keys.
            if header.get("alg") != "EdDSA" or str(header.get("typ", "")).lower() != TOKEN_TYPE:
                raise TokenInvalid
            key = await self.keys.find(header["kid"]) if isinstance(header.get("kid"), str) else None
            if key is None:
                raise TokenInvalid
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp", "iat", "sub", "sid", "aud", "iss"], "verify_iat": False},
            )
            identity = Identity(
                _uuid(claims["sub"]),
                _uuid(claims["sid"]),
                frozenset(str(claims.get("scope", "")).split()),
                int(claims["iat"]),
                int(claims["exp"]),
                header["kid"],
                int(claims.get("guest", 0)),
            )
        except jwt.InvalidAudienceError:
            raise AudienceWrong from None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            raise TokenInvalid from None
        longest = LONGEST_TOKEN_SECONDS
        if identity.expires - identity.issued > longest or identity.expires - time.time() > longest + _CLOCK_SECONDS:
            raise TokenInvalid
        return identity


class PublishedKeys(PeriodicTask, KeySource):
    """The keys that the auth service publishes, fetched once a minute and when a token names an unknown one."""

    expected: ClassVar[tuple[type[Exception], ...]] = (grpc.aio.AioRpcError, ValueError)
    shortest_wait: ClassVar[float] = 60.0
    longest_wait: ClassVar[float] = 60.0
    longest_backoff: ClassVar[float] = 0.2

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        """target: gRPC address of the auth service. credentials: None for plain text."""
        super().__init__("keys of auth")
        self._target, self._credentials = target, credentials
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fetched = float("-inf")
        self._channel: grpc.aio.Channel | None = None
        self._lock = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """Whether keys were fetched; they stay in use while auth is unavailable."""
        return bool(self._keys)

    def start(self) -> None:
        """Starts fetching; retries until there are keys."""
        if self._channel is None:
            self._channel = tls.channel(self._target, self._credentials)
            self._stub = key_service_pb2_grpc.KeyServiceStub(self._channel)
        super().start()

    async def close(self, grace: float = 0.0) -> None:
        """Stops fetching, and closes the channel."""
        await super().close(grace)
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    def knows(self, kid: str) -> bool:
        """Whether the key was in the last response of auth."""
        return kid in self._keys

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """The key with this id, or None; raises DependencyUnavailable before any was fetched.

        Fetches for an unknown one at most every five seconds.
        """
        if kid not in self._keys:
            if not self.ready:
                raise DependencyUnavailable("keys")
            async with self._lock:
                if kid not in self._keys and time.monotonic() - self._fetched > _UNKNOWN_KEY_SECONDS:
                    with suppress(*self.expected):  # auth is unavailable: the known keys are still valid
                        await self.run_once()
        return self._keys.get(kid)

    async def run_once(self) -> int:
        """Replaces the keys; keeps the old ones when auth does not respond. Raises ValueError when there are none."""
        try:
            response = await self._stub.GetJwks(key_service_pb2.GetJwksRequest(), timeout=2)
        finally:
            self._fetched = time.monotonic()
        self._keys = {key.kid: public_key(key.x) for key in response.keys if key.crv == "Ed25519"}
        if not self._keys:
            raise ValueError("auth publishes no Ed25519 key")
        return 0


def bearer_token(header: str | bytes) -> str | None:
    """The token of an `authorization` header; None for another scheme. The case of the scheme does not matter."""
    scheme, _, token = header.partition(" ") if isinstance(header, str) else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None


def public_key(encoded: str) -> Ed25519PublicKey:
    """The key of a JWK's `x`; raises ValueError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except UnsupportedAlgorithm as error:
        raise ValueError("this OpenSSL has no Ed25519") from error


def _uuid(claim: str) -> str:
    """A claim that statements take for a UUID; raises TypeError or ValueError."""
    if not _UUID.fullmatch(claim):
        raise ValueError(claim)
    return claim


def _digest(bearer: str | bytes) -> bytes:
    # BLAKE2b, because OpenSSL looks SHA-256 up by its name in every call.
    return hashlib.blake2b(bearer if isinstance(bearer, bytes) else bearer.encode(), digest_size=32).digest()
