"""Secrets of webhooks and codes of phones: made, encrypted and compared."""

import base64
import hashlib
import hmac
import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_NONCE_BYTES = 12
_SECRET_BYTES = 32
_PREFIX = "whsec_"


class Sealer:
    """Encrypts what the database keeps and only this service may read."""

    def __init__(self, key: str) -> None:
        """key: a secret of the service, the same in all replicas."""
        self._key = hashlib.blake2b(key.encode(), digest_size=32).digest()
        self._aead = AESGCM(self._key)

    def seal(self, secret: bytes, owner: str) -> str:
        """A secret, encrypted for the row of `owner` alone; hexadecimal."""
        nonce = os.urandom(_NONCE_BYTES)
        return (nonce + self._aead.encrypt(nonce, secret, owner.encode())).hex()

    def open(self, sealed: str, owner: str) -> bytes:
        """The secret; raises cryptography's InvalidTag when it was not sealed for this row with this key."""
        raw = bytes.fromhex(sealed)
        return self._aead.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode())

    def code(self, message_id: str) -> str:
        """Six digits for a phone: the same in every attempt, since the provider sends only one of them."""
        drawn = hmac.new(self._key, f"code\0{message_id}".encode(), hashlib.sha256).digest()
        return f"{int.from_bytes(drawn) % 1_000_000:06d}"

    def code_hash(self, code: str, user_id: str, phone_number: str) -> str:
        """A keyed hash of a code for one number of one user; hexadecimal."""
        text = "\0".join((code, user_id, phone_number))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def new_secret() -> bytes:
    """A secret for a webhook."""
    return os.urandom(_SECRET_BYTES)


def shown(secret: bytes) -> str:
    """A webhook's secret as its user gets it (https://www.standardwebhooks.com)."""
    return _PREFIX + base64.b64encode(secret).decode()


def application_server_key(pem: Path) -> str:
    """The public half of a P-256 key, as browsers subscribe with it: base64url; raises OSError, ValueError."""
    key = load_pem_private_key(pem.read_bytes(), None)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).decode().rstrip("=")
