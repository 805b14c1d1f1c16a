"""Settings of the history service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings beyond those of every service."""

    history_read_dsn: str = ""
    """Reads go to this database: a read replica of `database_url`, as its runtime role. Empty: to the primary."""
    retention_days: int = 365
    """After so long a month of the archive goes into cold storage, where it is read on request and does not change."""
    months_ahead: int = 12
    """How far ahead partitions of the archive are made."""
