"""Service identities: every service signs its calls with its own key, and knows its callers' public keys.

A service token names one callee and lives for a minute. Its type keeps it apart from users' access tokens: neither is
accepted where the other is required. No call depends on auth (docs/adr/0010-service-keys.md).
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mesh.rpc.identity import bearer_token
from mesh.runtime.errors import InternalOnly, ServiceTokenInvalid, TokenMissing
from mesh.runtime.signing_keys import kid_of, public_key

log = logging.getLogger(__name__)

SERVICE_TOKEN_TYPE = "svc+jwt"  # noqa: S105 (a media type)
SERVICE_TOKEN_SECONDS = 60
_USER_TOKEN_TYPE = "at+jwt"  # noqa: S105
_RENEW_SECONDS = 30
"""Remaining life below which a token is replaced: the callee's clock may be ahead by as much."""
_CLOCK_SECONDS = 30
"""How far the callee's clock may be behind."""
_CACHED = 1000
_REQUIRED = ["exp", "iat", "sub", "aud", "iss"]


class _Token(NamedTuple):
    text: str
    expires: int


class ServiceSigner:
    """Signs the tokens of one service's calls to others."""

    def __init__(self, service: str, key: Ed25519PrivateKey) -> None:
        self._service, self._key = service, key
        self._headers = {"kid": kid_of(key.public_key()), "typ": SERVICE_TOKEN_TYPE}
        self._tokens: dict[str, _Token] = {}

    def token(self, callee: str, *, now: float) -> str:
        """A token for calls to this service, with at least 30 seconds to live. now: seconds since the epoch."""
        token = self._tokens.get(callee)
        if token is None or token.expires - now < _RENEW_SECONDS:
            token = self._tokens[callee] = self._sign(callee, int(now))
        return token.text

    def _sign(self, callee: str, issued: int) -> _Token:
        expires = issued + SERVICE_TOKEN_SECONDS
        claims = {"iss": self._service, "sub": self._service, "aud": callee, "iat": issued, "exp": expires}
        return _Token(jwt.encode(claims, self._key, "EdDSA", self._headers), expires)


class Callers:
    """The services that may call this one, by their public keys."""

    def __init__(self, service: str, keys: Iterable[tuple[str, Ed25519PublicKey]] = ()) -> None:
        """keys: caller and key; a caller has two while its key is replaced."""
        self._service = service
        self._keys = {kid_of(key): (caller, key) for caller, key in keys}
        self._verified: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def verify(self, headers: Mapping[str, str | bytes]) -> str:
        """The name of the calling service; raises TokenMissing, InternalOnly or ServiceTokenInvalid."""
        bearer = headers.get("authorization")
        if bearer is None:
            raise TokenMissing
        token = bearer_token(bearer)
        if token is None:
            raise ServiceTokenInvalid
        if token not in self._verified:
            self._verified[token] = self._read(token)
            if len(self._verified) > _CACHED:
                self._verified.popitem(last=False)
        caller, expires = self._verified[token]
        if expires <= time.time():
            raise ServiceTokenInvalid
        return caller

    def _read(self, token: str) -> tuple[str, int]:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") == _USER_TOKEN_TYPE:
                raise InternalOnly
            if header.get("typ") != SERVICE_TOKEN_TYPE or header.get("kid") not in self._keys:
                raise jwt.InvalidTokenError("not a service token, or of no caller of this service")
            caller, key = self._keys[header["kid"]]
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                issuer=caller,
                subject=caller,
                audience=self._service,
                options={"require": _REQUIRED, "strict_aud": True, "verify_iat": False},
            )
            issued, expires = int(claims["iat"]), int(claims["exp"])
            if expires - issued > SERVICE_TOKEN_SECONDS or issued > time.time() + _CLOCK_SECONDS:
                raise jwt.InvalidTokenError("lives too long, or is from the future")
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
            log.warning("service token refused: %s", error)
            raise ServiceTokenInvalid from None
        return caller, expires


def read_callers(service: str, files: Iterable[tuple[str, str]]) -> Callers:
    """The callers of a service. files: caller and PEM file of its public key; raises OSError or ValueError."""
    return Callers(service, [(caller, public_key(Path(file).read_bytes())) for caller, file in files])
