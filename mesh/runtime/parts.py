"""What a service is made of beside its server."""

from typing import Protocol


class Component(Protocol):
    """Something that lives as long as the service: a pool, a consumer, a loop."""

    @property
    def ready(self) -> bool:
        """Whether the service can serve as far as this part goes."""

    def start(self) -> None:
        """Begins; never waits for another process."""

    async def close(self) -> None:
        """Ends what it began; idempotent."""
