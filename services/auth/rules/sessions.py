"""Sessions: refresh tokens that are not the newest, and the network that a login comes from."""

from ipaddress import IPv4Address, ip_address, ip_network

from mesh.runtime.clock import SECOND
from services.auth.errors import RefreshTokenInvalid, RefreshTokenReused
from services.auth.model import REFRESH_GRACE, SESSION_LIFE, Session
from services.auth.rules.tokens import LONGEST_ACCESS_SECONDS

REFUSED_FOR = (LONGEST_ACCESS_SECONDS + 60) * SECOND
"""How long an ended session's access tokens are refused: the longest life of one, and a minute for those that were made
while the session was being ended."""

UNKNOWN_NETWORK = "unknown"
"""Callers whose address cannot be read share one allowance."""
_IPV4_PREFIX = 24
_IPV6_PREFIX = 64


def begin(session_id: str, user_id: str, *, now: int, life: int = SESSION_LIFE) -> Session:
    """A new session, at the first token of its chain. life: until its refresh token ends."""
    return Session(
        id=session_id,
        user_id=user_id,
        generation=1,
        issued_at=now,
        expires_at=now + life,
        revoked_at=None,
    )


def require_previous(session: Session, generation: int, *, now: int) -> Session:
    """The session, when the token before its newest may still be exchanged for the newest.

    For a token that could not be exchanged. Raises RefreshTokenInvalid when its session ended,
    RefreshTokenReused when it was exchanged too long ago: then somebody else holds it too.
    """
    if session.revoked_at is not None or session.expires_at <= now:
        raise RefreshTokenInvalid
    if generation >= session.generation:
        raise RefreshTokenInvalid
    if generation < session.generation - 1 or now - session.issued_at > REFRESH_GRACE:
        raise RefreshTokenReused
    return session


def forget_at(ended: int) -> float:
    """When the last access token of a session that ended at this instant has expired, in seconds since the epoch."""
    return (ended + REFUSED_FOR) / SECOND


def network_of(address: str) -> str:
    """The prefix that attempts are counted by, /24 of IPv4 and /64 of IPv6: one household or attacker holds it whole.

    address: a bare address, or a gRPC peer such as `ipv4:192.0.2.7:51000` or `ipv6:[2001:db8::1]:51000`.
    """
    kind, _, rest = address.partition(":")
    if kind in {"ipv4", "ipv6"}:
        address = rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    try:
        found = ip_address(address)
    except ValueError:
        return UNKNOWN_NETWORK
    if found.version == 6 and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    size = _IPV4_PREFIX if isinstance(found, IPv4Address) else _IPV6_PREFIX
    return str(ip_network((found, size), strict=False))
