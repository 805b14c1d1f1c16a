"""Tokens for tests, good and bad, signed with keys of their own."""

import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from focusmesh.scopes import USER_SCOPES

from mesh.runtime.signing_keys import kid_of

ISSUER = "https://auth.focusmesh"
AUDIENCE = "focusmesh"


@dataclass(frozen=True)
class Signer:
    """A key that signs tokens."""

    kid: str = "test-key"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public_bytes(self) -> bytes:
        """The public key, raw."""
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def token(self, **changes: Any) -> str:
        """A good token of a new user, with these claims changed; None leaves a claim out."""
        return jwt.encode(claims(**changes), self.key, "EdDSA", {"kid": self.kid, "typ": "at+jwt"})


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, changed; None leaves a claim out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(uuid.uuid4()),
        "sid": str(uuid.uuid4()),
        "scope": " ".join(USER_SCOPES),
        "iat": now,
        "exp": now + 300,
        "jti": str(uuid.uuid4()),
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def service_token(service: str, callee: str, key: Ed25519PrivateKey, **changes: Any) -> str:
    """A good token of a service that calls another, with these claims changed; None leaves a claim out."""
    now = int(time.time())
    good = {"iss": service, "sub": service, "aud": callee, "iat": now, "exp": now + 60}
    payload = {name: value for name, value in {**good, **changes}.items() if value is not None}
    return jwt.encode(payload, key, "EdDSA", {"kid": kid_of(key.public_key()), "typ": "svc+jwt"})


def unsigned(payload: dict[str, Any], kid: str, kind: str = "at+jwt") -> str:
    """A token with `alg: none`."""
    return f"{_part({'alg': 'none', 'typ': kind, 'kid': kid})}.{_part(payload)}."


def symmetric(payload: dict[str, Any], kid: str, public_key: bytes, kind: str = "at+jwt") -> str:
    """A token whose HMAC key is the public key: valid where the algorithm of the header is trusted."""
    return jwt.encode(payload, public_key, "HS256", {"kid": kid, "typ": kind})


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
