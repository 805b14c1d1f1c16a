"""Ed25519 keys that sign tokens: read from PEM files, and named by their thumbprint."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """An unencrypted PKCS #8 Ed25519 key; raises ValueError."""
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")
    return key


def public_key(pem: bytes) -> Ed25519PublicKey:
    """An Ed25519 public key; raises ValueError."""
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the public key is not an Ed25519 key")
    return key


def kid_of(key: Ed25519PublicKey) -> str:
    """The key's id: its thumbprint (RFC 7638), so two keys never share one and nobody has to choose it."""
    members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": coordinate(key)}, separators=(",", ":"))
    return _base64url(hashlib.sha256(members.encode()).digest())


def coordinate(key: Ed25519PublicKey) -> str:
    """The `x` of the key's JWK, base64url without padding (RFC 8037)."""
    return _base64url(key.public_bytes_raw())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
