"""Tokens: how access tokens are signed and refresh tokens derived.

A refresh token is derived from the service's secret, its session and its position in the session's chain. So the
newest can be made again for a client that lost the response, although only a keyed hash is stored, and a forged one
fails without a query.
"""

import base64
import binascii
import hmac
import uuid
from collections.abc import Sequence
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mesh.runtime.clock import SECOND
from mesh.runtime.signing_keys import coordinate, kid_of

LONGEST_ACCESS_SECONDS = 600

_PREFIX = "fmr_"
"""Lets scanners of leaked secrets recognise a refresh token."""
_GUEST_PREFIX = "fmg_"
"""The same of a guest."""
_GENERATION_BYTES = 4
_CODE_BYTES = 32


class AccessToken(NamedTuple):
    """A signed access token; `expires` in microseconds since the epoch."""

    text: str
    expires: int


class PublicKey(NamedTuple):
    """A published key: its id and its coordinate, base64url."""

    kid: str
    x: str


class RefreshToken(NamedTuple):
    """The content of an authentic refresh token."""

    session_id: str
    generation: int
    is_guest: bool = False


class Signer:
    """Signs access tokens with the active key; has every key that is published."""

    def __init__(
        self,
        active: Ed25519PrivateKey,
        published: Sequence[Ed25519PublicKey] = (),
        *,
        issuer: str,
        audience: str,
        scopes: Sequence[str],
        guest_scopes: Sequence[str] = (),
        access_seconds: int = LONGEST_ACCESS_SECONDS,
    ) -> None:
        """published: keys that will sign next, or have signed tokens that still live; scopes: of every access token
        of a user; guest_scopes: of a guest.

        Raises ValueError.
        """
        if not 0 < access_seconds <= LONGEST_ACCESS_SECONDS:
            raise ValueError(f"access tokens live 1 to {LONGEST_ACCESS_SECONDS} s, not {access_seconds}")
        self._active, self._issuer, self._audience = active, issuer, audience
        self._scope, self._guest_scope = " ".join(scopes), " ".join(guest_scopes)
        self.access_seconds = access_seconds
        keys = {kid_of(key): key for key in (active.public_key(), *published)}
        self.verifying = keys
        """Key id to key, the active one first."""
        self._headers = {"kid": next(iter(keys)), "typ": "at+jwt"}

    def published(self) -> list[PublicKey]:
        """Every key that others may verify with; the one that signs now comes first."""
        return [PublicKey(kid, coordinate(key)) for kid, key in self.verifying.items()]

    def access_token(self, user_id: str, session_id: str, token_id: str, *, now: int) -> AccessToken:
        """A token that begins now. Claims hold whole seconds, so its end is rounded down."""
        issued = now // SECOND
        return self._sign(user_id, session_id, token_id, self._scope, issued, issued + self.access_seconds)

    def guest_token(self, guest_id: str, token_id: str, *, now: int, until: int) -> AccessToken:
        """The same of a guest, who ends at `until`: the token does not live longer."""
        issued, ends = now // SECOND, until // SECOND
        expires = min(issued + self.access_seconds, ends)
        return self._sign(guest_id, guest_id, token_id, self._guest_scope, issued, expires, guest=ends)

    def _sign(
        self, user_id: str, session_id: str, token_id: str, scope: str, issued: int, expires: int, **more: int
    ) -> AccessToken:
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user_id,
            "sid": session_id,
            "scope": scope,
            "iat": issued,
            "exp": expires,
            "jti": token_id,
            **more,
        }
        return AccessToken(jwt.encode(claims, self._active, "EdDSA", self._headers), expires * SECOND)


class RefreshTokens:
    """Derives, reads and hashes refresh tokens with one secret, from which a key for each purpose is made."""

    def __init__(self, secret: str) -> None:
        """secret: shared by all replicas; a new one ends every session."""
        self._deriving = hmac.digest(secret.encode(), b"refresh token", "sha256")
        self._hashing = hmac.digest(secret.encode(), b"stored hash", "sha256")

    def derive(self, session_id: str, generation: int, is_guest: bool = False) -> str:
        """The token at this position of a session's chain; always the same."""
        name = uuid.UUID(session_id).bytes + generation.to_bytes(_GENERATION_BYTES, "big")
        code = hmac.digest(self._deriving, b"guest" + name if is_guest else name, "sha256")
        return (_GUEST_PREFIX if is_guest else _PREFIX) + _base64url(name + code)

    def read(self, token: str) -> RefreshToken | None:
        """The content of the token; None when it was not made with this secret."""
        is_guest = token.startswith(_GUEST_PREFIX)
        try:
            text = token.removeprefix(_GUEST_PREFIX if is_guest else _PREFIX)
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) != 16 + _GENERATION_BYTES + _CODE_BYTES:
            return None
        generation = int.from_bytes(raw[16 : 16 + _GENERATION_BYTES], "big")
        found = RefreshToken(str(uuid.UUID(bytes=raw[:16])), generation, is_guest)
        if not hmac.compare_digest(token.encode(), self.derive(*found).encode()):
            return None
        return found

    def hash(self, token: str) -> str:
        """The keyed hash that is stored instead of the token, hexadecimal."""
        return hmac.digest(self._hashing, token.encode(), "sha256").hex()

    def pseudonym(self, text: str) -> str:
        """A keyed hash that stands for an e-mail address where the address itself must not be read."""
        return hmac.digest(self._hashing, b"pseudonym " + text.encode(), "sha256").hex()[:32]


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
