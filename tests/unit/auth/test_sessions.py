"""Sessions: what becomes of a refresh token that is not the newest one, and where attempts are counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import SECOND
from services.auth.errors import RefreshTokenInvalid, RefreshTokenReused
from services.auth.model import REFRESH_GRACE, SESSION_LIFE, Session
from services.auth.rules import sessions

ROTATED = 1_800_000_000 * SECOND
SESSION = Session("session", "user", 5, ROTATED, ROTATED + SESSION_LIFE, None)


@given(st.integers(0, REFRESH_GRACE))
def test_the_token_before_the_newest_is_accepted_for_30_seconds(later: int) -> None:
    assert sessions.require_previous(SESSION, 4, now=ROTATED + later) is SESSION


@given(st.integers(REFRESH_GRACE + 1, SESSION_LIFE - 1))
def test_after_that_its_use_is_a_reuse(later: int) -> None:
    with pytest.raises(RefreshTokenReused):
        sessions.require_previous(SESSION, 4, now=ROTATED + later)


@given(st.integers(1, 3), st.integers(0, SESSION_LIFE - 1))
def test_an_older_token_is_a_reuse_at_once(generation: int, later: int) -> None:
    with pytest.raises(RefreshTokenReused):
        sessions.require_previous(SESSION, generation, now=ROTATED + later)


@pytest.mark.parametrize(
    "session",
    [
        SESSION._replace(revoked_at=ROTATED),
        SESSION._replace(expires_at=ROTATED),
    ],
)
@pytest.mark.parametrize("generation", [1, 4, 5, 6])
def test_no_token_of_an_ended_session_is_accepted(session: Session, generation: int) -> None:
    with pytest.raises(RefreshTokenInvalid):
        sessions.require_previous(session, generation, now=ROTATED)


@pytest.mark.parametrize("generation", [5, 6])
def test_a_token_that_cannot_be_exchanged_although_nothing_newer_exists_is_invalid(generation: int) -> None:
    with pytest.raises(RefreshTokenInvalid):
        sessions.require_previous(SESSION, generation, now=ROTATED)


def test_an_ended_session_is_refused_for_longer_than_any_access_token_lives() -> None:
    assert sessions.forget_at(ROTATED) == ROTATED / SECOND + 660


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("ipv4:192.0.2.77:51000", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::9]:51000", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2::9%5D:51000", "2001:db8:1:2::/64"),
        ("unix:/run/auth.sock", sessions.UNKNOWN_NETWORK),
        ("", sessions.UNKNOWN_NETWORK),
    ],
)
def test_attempts_are_counted_by_the_prefix_that_one_household_has(address: str, network: str) -> None:
    assert sessions.network_of(address) == network


@given(st.ip_addresses())
def test_every_address_belongs_to_a_network(address: object) -> None:
    assert sessions.network_of(str(address)) != sessions.UNKNOWN_NETWORK


@given(st.text())
def test_whatever_a_header_says_an_attempt_is_counted_somewhere(text: str) -> None:
    assert sessions.network_of(text)
