"""Settings of the audit service: the common ones."""

from mesh.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own."""
