"""Tokens: what is signed, derived and published."""

import hashlib
import hmac
import json
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import SECOND
from mesh.runtime.signing_keys import kid_of
from services.auth.rules.tokens import RefreshTokens, Signer

NOW = 1_800_000_000 * SECOND + 999_999
TOKENS = RefreshTokens("a secret of this test")

sessions = st.uuids().map(str)
generations = st.integers(1, 2**32 - 1)


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def signer(key: Ed25519PrivateKey) -> Signer:
    return Signer(key, issuer="https://auth.focusmesh", audience="focusmesh", scopes=["tasks:read", "notes:read"])


def test_an_access_token_says_who_may_do_what_until_when(signer: Signer, key: Ed25519PrivateKey) -> None:
    token = signer.access_token("user", "session", "token", now=NOW)
    claims = jwt.decode(
        token.text,
        key.public_key(),
        algorithms=["EdDSA"],
        audience="focusmesh",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims == {
        "iss": "https://auth.focusmesh",
        "aud": "focusmesh",
        "sub": "user",
        "sid": "session",
        "scope": "tasks:read notes:read",
        "iat": 1_800_000_000,
        "exp": 1_800_000_600,
        "jti": "token",
    }
    assert token.expires == claims["exp"] * SECOND


def test_an_access_token_names_its_type_and_key(signer: Signer, key: Ed25519PrivateKey) -> None:
    header = jwt.get_unverified_header(signer.access_token("user", "session", "token", now=NOW).text)
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": kid_of(key.public_key())}


def test_a_guest_s_token_ends_with_the_guest(key: Ed25519PrivateKey) -> None:
    signer = Signer(key, issuer="i", audience="a", scopes=["tasks:read"], guest_scopes=["focus:read"])
    for left, life in ((601, 600), (599, 599)):
        token = signer.guest_token("guest", "token", now=NOW, until=NOW + left * SECOND)
        claims = jwt.decode(token.text, options={"verify_signature": False})
        assert (claims["sub"], claims["sid"], claims["scope"]) == ("guest", "guest", "focus:read")
        assert claims["guest"] == 1_800_000_000 + left
        assert claims["exp"] - claims["iat"] == life


@pytest.mark.parametrize("seconds", [0, -1, 601])
def test_an_access_token_never_lives_longer_than_ten_minutes(key: Ed25519PrivateKey, seconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 600 s"):
        Signer(key, issuer="i", audience="a", scopes=[], access_seconds=seconds)


def test_the_signing_key_is_published_first_and_once(key: Ed25519PrivateKey) -> None:
    following = Ed25519PrivateKey.generate().public_key()
    signer = Signer(key, [following, key.public_key()], issuer="i", audience="a", scopes=[])
    assert [published.kid for published in signer.published()] == [kid_of(key.public_key()), kid_of(following)]
    assert len(signer.published()[0].x) == 43


@given(sessions, generations, st.booleans())
def test_a_refresh_token_is_always_the_same_and_names_its_generation(
    session_id: str, generation: int, is_guest: bool
) -> None:
    token = TOKENS.derive(session_id, generation, is_guest)
    assert token == RefreshTokens("a secret of this test").derive(session_id, generation, is_guest)
    assert TOKENS.read(token) == (session_id, generation, is_guest)
    assert len(token) <= 512


@given(sessions, generations, st.integers(0, 73), st.integers(1, 127))
def test_a_refresh_token_with_any_character_changed_is_nobody_s(
    session_id: str, generation: int, position: int, shift: int
) -> None:
    token = TOKENS.derive(session_id, generation)
    position %= len(token)
    forged = token[:position] + chr((ord(token[position]) + shift) % 128) + token[position + 1 :]
    assert TOKENS.read(forged) is None


@given(st.text(max_size=512))
def test_any_other_text_is_no_refresh_token(text: str) -> None:
    assert TOKENS.read(text) is None


@given(sessions, generations)
def test_another_secret_makes_and_takes_other_refresh_tokens(session_id: str, generation: int) -> None:
    other = RefreshTokens("another secret")
    token = TOKENS.derive(session_id, generation)
    assert other.read(token) is None
    assert other.hash(token) != TOKENS.hash(token)


def test_what_is_stored_of_a_refresh_token_is_a_hash_that_needs_the_secret() -> None:
    token = TOKENS.derive(str(UUID(int=1)), 1)
    stored = TOKENS.hash(token)
    assert len(stored) == 64
    assert stored not in {
        hashlib.sha256(token.encode()).hexdigest(),
        hmac.digest(b"a secret of this test", token.encode(), "sha256").hex(),
    }


def test_a_pseudonym_is_stable_and_hides_the_address() -> None:
    name = TOKENS.pseudonym("ann@example.com")
    assert name == TOKENS.pseudonym("ann@example.com") != TOKENS.pseudonym("bea@example.com")
    assert "ann" not in json.dumps(name)
