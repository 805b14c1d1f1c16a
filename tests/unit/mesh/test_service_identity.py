"""Service tokens: who calls, whom, and for how long."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.rpc.service_identity import Callers, ServiceSigner
from mesh.runtime.errors import InternalOnly, ServiceTokenInvalid, TokenMissing
from mesh.runtime.signing_keys import kid_of
from tests.support.tokens import Signer, service_token, symmetric, unsigned

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture
def callers() -> Callers:
    """Of the service auth: pomodoro and history call it."""
    return Callers("auth", [("pomodoro", KEY.public_key()), ("history", OTHER_KEY.public_key())])


def verify(callers: Callers, token: str) -> str:
    return callers.verify({"authorization": f"Bearer {token}"})


def test_a_service_calls_as_itself(callers: Callers) -> None:
    assert verify(callers, ServiceSigner("pomodoro", KEY).token("auth", now=time.time())) == "pomodoro"
    assert verify(callers, ServiceSigner("history", OTHER_KEY).token("auth", now=time.time())) == "history"


def test_a_verified_token_ends_when_it_expires(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    token = service_token("pomodoro", "auth", KEY, exp=int(time.time()) + 1)
    assert verify(callers, token) == "pomodoro"
    expired = time.time() + 2
    monkeypatch.setattr(time, "time", lambda: expired)
    with pytest.raises(ServiceTokenInvalid):
        verify(callers, token)


NOW = 1_800_000_000
KID = kid_of(KEY.public_key())


def good() -> dict[str, Any]:
    now = int(time.time())
    return {"iss": "pomodoro", "sub": "pomodoro", "aud": "auth", "iat": now, "exp": now + 60}


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": -61, "exp": -1},
        {"iat": 60, "exp": 120},
        {"exp": 3600},
        {"aud": "todo"},
        {"aud": ["auth", "todo"]},
        {"aud": None},
        {"iss": "history"},
        {"sub": "history"},
        {"iss": "history", "sub": "history"},
        {"iss": "https://auth.focusmesh"},
        {"sub": None},
        {"exp": None},
        {"iat": None},
        {"iat": "yesterday"},
    ],
    ids=str,
)
def test_a_token_that_says_anything_else_is_refused(callers: Callers, claims: dict[str, Any]) -> None:
    """Instants are seconds from now."""
    now = int(time.time())
    said = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    with pytest.raises(ServiceTokenInvalid):
        verify(callers, service_token("pomodoro", "auth", KEY, **said))


def with_header(**header: object) -> str:
    return jwt.encode(good(), KEY, "EdDSA", {"kid": KID, "typ": "svc+jwt", **header})


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServiceSigner("pomodoro", Ed25519PrivateKey.generate()).token("auth", now=time.time()),
        lambda: ServiceSigner("history", KEY).token("auth", now=time.time()),
        lambda: jwt.encode(good(), OTHER_KEY, "EdDSA", {"kid": KID, "typ": "svc+jwt"}),
        lambda: with_header(typ="JWT"),
        lambda: with_header(typ=None),
        lambda: with_header(kid="unknown"),
        lambda: jwt.encode(good(), KEY, "EdDSA", {"typ": "svc+jwt"}),
        lambda: unsigned(good(), KID, "svc+jwt"),
        lambda: symmetric(good(), KID, KEY.public_key().public_bytes_raw(), "svc+jwt"),
        lambda: f"{part({'alg': 'EdDSA', 'typ': 'svc+jwt', 'kid': [KID]})}.{part(good())}.",
        lambda: "nonsense",
        lambda: "",
    ],
    ids=[
        "key of nobody",
        "key of another caller",
        "signed by another caller in its name",
        "another type",
        "no type",
        "unknown key id",
        "no key id",
        "alg none",
        "HS256 with the public key",
        "key id is a list",
        "no token",
        "empty",
    ],
)
def test_a_token_that_is_not_signed_by_the_caller_is_refused(callers: Callers, make: Callable[[], str]) -> None:
    with pytest.raises(ServiceTokenInvalid):
        verify(callers, make())


def part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_a_users_token_never_passes_for_a_service_whatever_it_claims(callers: Callers) -> None:
    user = Signer(kid=KID, key=KEY)
    for claims in ({}, {"service": "pomodoro"}, {"iss": "pomodoro", "sub": "pomodoro", "aud": "auth"}):
        with pytest.raises(InternalOnly):
            verify(callers, user.token(**claims))


def test_a_call_without_a_token_is_refused(callers: Callers) -> None:
    with pytest.raises(TokenMissing):
        callers.verify({})
    for header in ("Basic cG9tb2Rvcm86", b"Bearer x"):
        with pytest.raises(ServiceTokenInvalid):
            callers.verify({"authorization": header})


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer   "])
def test_the_scheme_may_be_written_in_any_case_with_any_blanks(callers: Callers, scheme: str) -> None:
    token = ServiceSigner("pomodoro", KEY).token("auth", now=time.time())

    assert callers.verify({"authorization": f"{scheme}{token} "}) == "pomodoro"


def test_a_service_without_callers_accepts_nobody() -> None:
    with pytest.raises(ServiceTokenInvalid):
        verify(Callers("auth"), ServiceSigner("pomodoro", KEY).token("auth", now=time.time()))


def test_a_key_is_replaced_without_a_refused_call() -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    both = Callers("auth", [("pomodoro", old.public_key()), ("pomodoro", new.public_key())])
    for key in (old, new):
        assert verify(both, ServiceSigner("pomodoro", key).token("auth", now=time.time())) == "pomodoro"
    with pytest.raises(ServiceTokenInvalid):
        verify(
            Callers("auth", [("pomodoro", new.public_key())]),
            ServiceSigner("pomodoro", old).token("auth", now=time.time()),
        )


def test_a_token_is_signed_again_half_a_minute_before_it_expires() -> None:
    signer = ServiceSigner("pomodoro", KEY)
    first = signer.token("auth", now=NOW)
    assert signer.token("auth", now=NOW + 30) == first
    renewed = signer.token("auth", now=NOW + 31)
    claims = jwt.decode(renewed, options={"verify_signature": False})
    assert claims == {"iss": "pomodoro", "sub": "pomodoro", "aud": "auth", "iat": NOW + 31, "exp": NOW + 91}
    assert signer.token("auth", now=NOW + 32) == renewed


def test_every_callee_gets_a_token_of_its_own() -> None:
    signer = ServiceSigner("pomodoro", KEY)
    assert signer.token("auth", now=NOW) != signer.token("todo", now=NOW)
