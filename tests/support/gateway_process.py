"""The real gateway as a process, for tests: started, awaited, stopped."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from envoy import generate
from envoy.process import command
from envoy.settings import GatewaySettings
from harness.waiting import wait_until
from tests.support.ports import LOOPBACK, free_ports

START_SECONDS = 15.0
_HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
"""Every request on a connection of its own: the gateways it asks come and go."""


class Running:
    """One gateway process."""

    def __init__(self, folder: Path, endpoints: dict[str, list[tuple[str, int]]], **given: Any) -> None:
        """given: settings of the gateway; ports are chosen here."""
        self.port, self.metrics_port, keys = free_ports(3)
        self.folder = folder
        self.settings = GatewaySettings(
            **{
                "listen": (LOOPBACK, self.port),
                "metrics": (LOOPBACK, self.metrics_port),
                "keys": (LOOPBACK, keys),
                "admin_socket": folder / "admin.sock",
                "access_log": str(folder / "access.log"),
                **given,
            }
        )
        self.config = folder / "gateway.json"
        generate.write(self.config, endpoints, self.settings)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL for REST and gRPC-Web."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def target(self) -> str:
        """host:port for gRPC."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def admin_socket(self) -> Path:
        """The administration interface."""
        return self.settings.admin_socket

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        log = (self.folder / "envoy.log").open("wb")
        with log:
            self._process = subprocess.Popen(command(self.config), stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._takes_calls, f"the gateway starts; see {self.folder / 'envoy.log'}")

    def stop(self) -> None:
        """Ends it at once."""
        if self._process:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None

    def is_open(self) -> bool:
        """Whether a load balancer would send calls to it."""
        with contextlib.suppress(httpx.HTTPError):
            return _HTTP.get(f"{self.url}/healthz").status_code == 200
        return False

    def is_ready(self) -> bool:
        """Whether an orchestrator would leave it alone."""
        with contextlib.suppress(httpx.HTTPError):
            return _HTTP.get(f"http://{LOOPBACK}:{self.metrics_port}/ready").status_code == 200
        return False

    def access_log(self) -> str:
        """The access log so far."""
        path = self.folder / "access.log"
        return path.read_text() if path.exists() else ""

    def figure(self, name: str) -> float:
        """The value of a metric, summed over labels; 0 while there is none."""
        lines = _HTTP.get(f"http://{LOOPBACK}:{self.metrics_port}/stats/prometheus").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def healthy(self, cluster: str) -> int:
        """How many replicas of a service it calls."""
        label = f'envoy_cluster_name="{cluster}"'
        lines = _HTTP.get(f"http://{LOOPBACK}:{self.metrics_port}/stats/prometheus").text.splitlines()
        name = "envoy_cluster_membership_healthy{"
        return next((int(line.split()[-1]) for line in lines if line.startswith(name) and label in line), 0)

    def _takes_calls(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "envoy.log").read_text()[-2000:]
        return self.is_ready()


@contextlib.contextmanager
def running(gateway: Running) -> Iterator[Running]:
    """A gateway while it lasts."""
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()
