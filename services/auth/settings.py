"""Settings of the auth service, beside those of every service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings of the auth service."""

    signing_key_file: str
    """Ed25519 private key, PKCS #8 PEM: signs access tokens."""
    published_key_files: str = ""
    """Further public keys, PEM files separated by commas: the next key before it signs, the previous one afterwards."""
    refresh_hash_key: str
    """Secret that refresh tokens are derived from and hashed with. A new one ends every session."""
    access_token_seconds: int = 600
    """Life of an access token; at most 600."""
    password_threads: int = 1
    """Threads that check passwords. A check costs 20 ms of a core and 19 MiB; more threads slow other calls down."""
    password_queue: int = 64
    """Passwords that may wait; further ones are refused at once with RESOURCE_EXHAUSTED."""
    guest_hours: int = 48
    """How long a guest lives, 24 to 72; then everything of the guest is gone, unless an account has claimed it."""
    guests_per_network: int = 40
    """Guests that may begin at once in a /24 of IPv4 or a /64 of IPv6; after them about 30 an hour."""
    require_verified_email: bool = False
    """Register responds alike for every address, and Login waits for VerifyEmail. Turn it on wherever mail is really
    sent; off, Register says that an address has an account (ADR 9)."""
    session_retention_days: int = 30
    """How long ended and expired sessions are kept, for investigations."""
