"""Settings of the calendar service: the common ones."""

from mesh.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """No settings beyond those of every service."""
