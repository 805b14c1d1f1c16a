"""Settings of the auth service, beside those of every service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings of the auth service."""

    signing_key_file: str
    """Ed25519 private key, PKCS #8 PEM: signs access tokens from the start of the process on."""
    published_key_files: str = ""
    """Further public keys, PEM files separated by commas: the next one before it signs, the last one after it did."""
    refresh_hash_key: str
    """Secret that refresh tokens are derived from and hashed with. A new one ends every session."""
    access_token_seconds: int = 600
    """Life of an access token; at most 600."""
    password_threads: int = 1
    """Passwords checked at once. One costs 20 ms of a core and 19 MiB; more threads take cores from other calls."""
    password_queue: int = 64
    """Passwords that may wait; more are refused with RESOURCE_EXHAUSTED, at once."""
    session_retention_days: int = 30
    """How long ended and expired sessions are kept, for questions about them."""
