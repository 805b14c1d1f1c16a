"""Settings of the todo service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings beyond those of every service."""

    most_tasks: int = 100_000
    """Of one user, with those that are deleted and not purged yet; passed by a thousandth: `mesh/database/quota.py`."""
