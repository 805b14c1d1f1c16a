"""Writes the gateway's configuration: the reviewed template with routes, clusters and settings filled in.

    python -m envoy.generate --target machine --out .run/gateway.json

The stack and the tests call `write`.
"""

import argparse
import base64
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from contract import descriptors
from contract.rules import ContractError
from envoy import rest_requests, routes
from envoy.clusters import Endpoints, clusters
from envoy.responses import mappers
from envoy.routes import FEED_CLUSTER, WEBSOCKET_CLUSTER
from envoy.settings import Address, Bucket, GatewaySettings, SettingsError
from stack.layout import DEVELOPMENT_ORIGINS, LOOPBACK, Ports, State, main_ports, main_state
from stack.registry import Service, load

TEMPLATE = Path(__file__).with_name("template.yaml")
EDGE = Path(__file__).with_name("edge.lua")
_HOLE = re.compile(r"\$\{(\w+)\}")
_NAMESPACE = "focusmesh.svc.cluster.local"
_CLUSTER_PORTS = (9000, 9001)
"""Ports of every pod: gRPC, and WebSocket or plain HTTP."""


class TemplateError(Exception):
    """The template names an unknown value, or does not use one."""


def write(path: Path, endpoints: Endpoints, settings: GatewaySettings) -> bool:
    """Writes the configuration as JSON, atomically; returns whether it changed.

    endpoints: host and port of every replica by service (`auth`, `todo`, …), and `realtime_ws` in the order of
    `realtime`. Raises ContractError for a contract that cannot be routed.
    """
    text = json.dumps(bootstrap(endpoints, settings), indent=1)
    if path.exists() and path.read_text() == text:
        return False
    new = path.with_suffix(f"{path.suffix}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    new.write_text(text)
    new.replace(path)
    return True


def bootstrap(endpoints: Endpoints, settings: GatewaySettings) -> dict[str, Any]:
    """The complete configuration."""
    template = yaml.safe_load(TEMPLATE.read_text())
    values = _values(endpoints, settings)
    if unused := values.keys() - set(_HOLE.findall(TEMPLATE.read_text())):
        raise TemplateError(f"the template does not use {', '.join(sorted(unused))}")
    filled: dict[str, Any] = _without_nothing(_fill(template, values))
    return filled


def _values(endpoints: Endpoints, settings: GatewaySettings) -> dict[str, Any]:
    """The values that the template names."""
    described = descriptors.load()
    methods = described.rpcs
    allowances = settings.allowances
    return {
        "admin_socket": str(settings.admin_socket),
        "heap_bytes": settings.heap_bytes,
        "most_connections": settings.most_connections,
        **_address("listen", settings.listen),
        **_address("keys", settings.keys),
        **_address("metrics", settings.metrics),
        "access_log": settings.access_log,
        "issuer": settings.issuer,
        "audience": settings.audience,
        "key_cache": f"{settings.key_cache_seconds}s",
        "trusted_hops": settings.trusted_hops,
        "listener_filters": _listener_filters(settings),
        "largest_request_bytes": settings.largest_request_bytes,
        "largest_file_bytes": routes.largest_file(methods, settings.largest_request_bytes),
        "largest_response_bytes": settings.largest_response_bytes,
        "allowed_origins": [{"exact": origin} for origin in settings.allowed_origins],
        **{f"rate_{name}": _bucket(getattr(allowances, name)) for name in allowances._fields},
        "tracing": _tracing(settings),
        "edge": EDGE.read_text(),
        "other_upgrades": routes.OTHER_UPGRADES,
        "descriptor_set": base64.b64encode(descriptors.DESCRIPTOR_SET.read_bytes()).decode(),
        "rest_requests": rest_requests.script(described),
        "transcoded": routes.transcoded(methods),
        "key_services": [routes.KEY_METHOD.strip("/").partition("/")[0]],
        "routes": routes.routes(described, settings.stream_idle_seconds),
        "key_routes": routes.key_routes(methods),
        "token_rules": routes.token_rules(methods),
        "safe_retries": routes.SAFE_RETRIES,
        "response_mappers": mappers(),
        "clusters": clusters(endpoints, settings),
    }


def _address(name: str, address: Address) -> dict[str, Any]:
    return {f"{name}_host": address[0], f"{name}_port": address[1]}


def _bucket(bucket: Bucket) -> dict[str, Any]:
    """A token bucket, refilled one by one or each second: a minute's allowance is not available at once."""
    refill = max(1, round(bucket.refill / bucket.per_seconds))
    return {
        "max_tokens": bucket.burst,
        "tokens_per_fill": refill,
        "fill_interval": f"{refill * bucket.per_seconds / bucket.refill:.3f}s",
    }


def _listener_filters(settings: GatewaySettings) -> list[dict[str, Any]]:
    """The preamble of a load balancer, and the first line of HTTP: who does not send them in time is closed."""
    kind = "type.googleapis.com/envoy.extensions.filters.listener"
    proxy = {
        "name": "envoy.filters.listener.proxy_protocol",
        "typed_config": {"@type": f"{kind}.proxy_protocol.v3.ProxyProtocol"},
    }
    inspector = {
        "name": "envoy.filters.listener.http_inspector",
        "typed_config": {"@type": f"{kind}.http_inspector.v3.HttpInspector"},
    }
    return [proxy, inspector] if settings.proxy_protocol else [inspector]


def _tracing(settings: GatewaySettings) -> dict[str, Any] | None:
    if settings.otlp is None:
        return None
    samplers = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3"
    percentage = {"numerator": round(settings.trace_percent * 10_000), "denominator": "MILLION"}
    # No caller's decision: a traceparent of theirs is removed before the span begins.
    own = {
        "name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        "typed_config": {
            "@type": f"{samplers}.TraceIdRatioBasedSamplerConfig",
            "sampling_percentage": percentage,
        },
    }
    config = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "grpc_service": {"envoy_grpc": {"cluster_name": "otlp"}, "timeout": "1s"},
        "service_name": "gateway",
        "sampler": own,
    }
    # One span per call. A second one, for the upstream request, would cost a tenth of Envoy's CPU and repeat the
    # service's own span and `upstream_ms` of the access log.
    key = {"key": "focusmesh.edge", "path": [{"key": "traceparent"}]}
    callers = {"tag": "caller.traceparent", "metadata": {"kind": {"request": {}}, "metadata_key": key}}
    provider = {"name": "envoy.tracers.opentelemetry", "typed_config": config}
    return {"provider": provider, "custom_tags": [callers]}


def _fill(node: Any, values: dict[str, Any]) -> Any:
    """The template with its placeholders replaced; a text that is one placeholder takes the value's type."""
    if isinstance(node, dict):
        return {key: _fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(item, values) for item in node]
    if isinstance(node, str) and (hole := _HOLE.fullmatch(node)):
        if hole[1] not in values:
            raise TemplateError(f"nothing is given for ${{{hole[1]}}}")
        return values[hole[1]]
    return node


def _without_nothing(node: Any) -> Any:
    """The same without keys whose value is None: features that are switched off."""
    if isinstance(node, dict):
        return {key: _without_nothing(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [_without_nothing(item) for item in node]
    return node


def machine(ports: Ports, state: State, **given: Any) -> tuple[Endpoints, GatewaySettings]:
    """Endpoints and settings of one machine, with as many replicas as the registry says; `given` overrides settings."""
    endpoints: dict[str, list[Address]] = {}
    for service in load().services.values():
        for name, offset in _listeners(service).items():
            replicas = range(service.replicas)
            endpoints[name] = [(LOOPBACK, ports.service(offset, replica)) for replica in replicas]
    own = {
        "listen": (LOOPBACK, ports.gateway),
        "metrics": (LOOPBACK, ports.gateway_metrics),
        "keys": (LOOPBACK, ports.gateway_internal),
        "admin_socket": state.socket("gateway"),
    }
    environment = {"FOCUSMESH_ALLOWED_ORIGINS": DEVELOPMENT_ORIGINS, **os.environ}
    return endpoints, GatewaySettings.from_environment(environment, **{**own, **given})


def cluster() -> tuple[Endpoints, GatewaySettings]:
    """Endpoints and settings in Kubernetes: headless services by name, every replica found by DNS."""
    endpoints = {
        name: [(f"{service.name}.{_NAMESPACE}", _CLUSTER_PORTS[name != service.name])]
        for service in load().services.values()
        for name in _listeners(service)
    }
    settings = GatewaySettings.from_environment(
        listen=("0.0.0.0", 8080),  # noqa: S104 (a pod has its own network)
        metrics=("0.0.0.0", 8081),  # noqa: S104
        keys=(LOOPBACK, 8082),
        admin_socket=Path("/var/run/gateway/admin.sock"),
    )
    return endpoints, settings


def _listeners(service: Service) -> dict[str, int]:
    """Clusters of a service with their port offsets: gRPC, and WebSocket or plain HTTP where it has one."""
    others = {WEBSOCKET_CLUSTER: service.websocket_port, FEED_CLUSTER: service.http_port}
    return {service.name: service.port, **{name: port for name, port in others.items() if port}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes one configuration; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m envoy.generate", description="Write the gateway's configuration.")
    parser.add_argument("--target", choices=("machine", "cluster"), required=True, help="where the gateway will run")
    parser.add_argument("--out", type=Path, required=True, help="file to write, JSON")
    given = parser.parse_args(arguments)
    try:
        endpoints, settings = machine(main_ports(), main_state()) if given.target == "machine" else cluster()
        write(given.out, endpoints, settings)
    except (ContractError, SettingsError, TemplateError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
