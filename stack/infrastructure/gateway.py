"""Envoy: its configuration for the running replicas, and their health as it sees it."""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

from envoy import generate, process
from envoy.drain import DrainError, drain
from envoy.settings import GatewaySettings
from stack.infrastructure.services import Replica
from stack.layout import DEVELOPMENT_ORIGINS, LOOPBACK, Ports, State, private_file, private_folder
from stack.supervisor import Program
from stack.unix_http import get

NAME = "gateway"
FIRST_CALL = "/.well-known/jwks.json"
_NOTICE_SECONDS = 0.2
_LONGEST_DRAIN_SECONDS = 2.0


def _configuration(state: State) -> Path:
    return state.gateway / "gateway.json"


def admin_socket(state: State) -> Path:
    """Its administration."""
    return state.socket("gateway")


def prepare(state: State, ports: Ports, replicas: Iterable[Replica], environment: Mapping[str, str]) -> bool:
    """Writes its configuration; returns whether it changed. environment: of this stack."""
    private_folder(state.gateway)
    endpoints: dict[str, list[tuple[str, int]]] = {}
    for replica in replicas:
        endpoints.setdefault(replica.service.name, []).append((LOOPBACK, replica.port(ports)))
        if (port := replica.websocket_port(ports)) is not None:
            endpoints.setdefault(f"{replica.service.name}_ws", []).append((LOOPBACK, port))
        if (port := replica.http_port(ports)) is not None:
            endpoints.setdefault(f"{replica.service.name}_http", []).append((LOOPBACK, port))
    settings = GatewaySettings.from_environment(
        {"FOCUSMESH_ALLOWED_ORIGINS": DEVELOPMENT_ORIGINS, **os.environ, **environment},
        listen=(LOOPBACK, ports.gateway),
        metrics=(LOOPBACK, ports.gateway_metrics),
        keys=(LOOPBACK, ports.gateway_internal),
        admin_socket=admin_socket(state),
    )
    changed = generate.write(_configuration(state), endpoints, settings)
    private_file(_configuration(state))
    return changed


def program(state: State) -> Program:
    """The gateway's process."""
    return Program(name=NAME, command=tuple(process.command(_configuration(state))))


def responses(ports: Ports) -> bool:
    """Whether a call through it reaches a service."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{ports.gateway}{FIRST_CALL}", timeout=2) as response:
            return bool(json.load(response)["keys"])
    except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError, KeyError):
        return False


def sends_to(state: State, ports: Iterable[int]) -> bool:
    """Whether it considers these endpoints healthy, in every cluster that has them."""
    try:
        status = json.loads(get(admin_socket(state), "/clusters?format=json"))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    healthy: dict[int, bool] = {}
    for cluster in status["cluster_statuses"]:
        for host in cluster.get("host_statuses", ()):
            port = host["address"].get("socket_address", {}).get("port_value", 0)
            failed = host["health_status"].get("failed_active_health_check", False)
            healthy[port] = healthy.get(port, True) and not failed
    return all(healthy.get(port, False) for port in ports)


def leave(state: State) -> None:
    """Ends its calls before it is stopped, as far as they end in time; does nothing when it does not run."""
    try:
        drain(admin_socket(state), notice_seconds=_NOTICE_SECONDS, longest_seconds=_LONGEST_DRAIN_SECONDS)
    except DrainError:
        return
