"""Tokens signed with the keys of a stack."""

from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from harness.owners import Account
from stack.stack import Stack
from tests.support.tokens import Signer, service_token


def issuer_of(stack: Stack, account: Account) -> Signer:
    """The signing key of the stack: for tokens that it would never issue."""
    key = load_pem_private_key(stack.keys.signing_key().read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return Signer(jwt.get_unverified_header(account.token)["kid"], key)


def service_signer(stack: Stack, service: str) -> Callable[..., str]:
    """Makes tokens of a service with the key that the stack gives it: callee, and claims to change."""
    key = load_pem_private_key(stack.keys.service_key(service).read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return lambda callee, **changes: service_token(service, callee, key, **changes)
