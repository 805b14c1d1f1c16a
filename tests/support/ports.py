"""Ports for what a test starts in its own process or beside it."""

from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

from stack import preflight
from stack.layout import LOOPBACK, PORTS

__all__ = ["ADDRESS_OF_OTHERS", "LOOPBACK", "free_ports"]

ADDRESS_OF_OTHERS = "127.0.0.3"
"""Where tests have servers that the services may call, as they may call those of the world."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, from a block that this process claims: no stack and no other run takes them."""
    return list(islice(_own(), count))


@cache
def _own() -> Iterator[int]:
    """The ports of the claimed block that are free, one after the other without end."""
    ports, claim = preflight.claim_ports()

    def free() -> Iterator[int]:
        with claim:
            yield from filter(preflight.is_free, cycle(range(ports.base + 1, ports.base + PORTS)))

    return free()
