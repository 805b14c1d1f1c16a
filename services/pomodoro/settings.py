"""Settings of the pomodoro service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings beyond those of every service."""

    paused_retention_days: int = 30
    """How long a session stays paused before the service puts it away."""
    paused_retention_deletes: bool = False
    """Delete sessions that were paused for so long, with an undelete; otherwise they are archived."""
    watches_per_user: int = 10
    """Open watches of one user on one replica."""
