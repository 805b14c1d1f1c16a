"""Settings of the calendar service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings beyond those of every service."""

    http_listen: str
    """Address of the listener of plain HTTP, host:port, where feeds are read."""
    outgoing_allowed_networks: str = ""
    """Networks that calendars of others may be in though they are not public, also without encryption:
    `10.1.0.0/16;fd00::/8`. Empty: public addresses alone, with https alone."""
