"""Settings of the calendar service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings beyond those of every service."""

    http_listen: str
    """Address of the listener of plain HTTP, host:port, where feeds are read."""
