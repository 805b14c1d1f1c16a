"""Writes the gateway's configuration: the reviewed template with routes, clusters and settings filled in.

    python -m envoy.generate --target machine --out .run/gateway.json

The stack and the tests call `write`.
"""

import argparse
import base64
import json
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from envoy import contract, replies, routes
from envoy.clusters import Endpoints, clusters
from envoy.settings import Address, Bucket, GatewaySettings, SettingsError

TEMPLATE = Path(__file__).with_name("template.yaml")
REGISTRY = contract.ROOT / "services.toml"
_HOLE = re.compile(r"\$\{(\w+)\}")
_NAMESPACE = "focusmesh.svc.cluster.local"


class TemplateError(Exception):
    """The template names a value that is not there, or leaves one out."""


def write(path: Path, endpoints: Endpoints, settings: GatewaySettings) -> None:
    """Writes the configuration as JSON, whole or not at all.

    endpoints: host and port of every replica by service (`auth`, `todo`, …), and `realtime_ws` in the order of
    `realtime`. Raises ContractError for a contract that cannot be routed.
    """
    text = json.dumps(bootstrap(endpoints, settings), indent=1)
    new = path.with_suffix(f"{path.suffix}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    new.write_text(text)
    new.replace(path)


def bootstrap(endpoints: Endpoints, settings: GatewaySettings) -> dict[str, Any]:
    """The whole configuration."""
    template = yaml.safe_load(TEMPLATE.read_text())
    values = _values(endpoints, settings)
    if unused := values.keys() - set(_HOLE.findall(TEMPLATE.read_text())):
        raise TemplateError(f"the template has no place for {', '.join(sorted(unused))}")
    filled: dict[str, Any] = _without_nothing(_fill(template, values))
    return filled


def _values(endpoints: Endpoints, settings: GatewaySettings) -> dict[str, Any]:
    """What the template names."""
    descriptor_set = contract.DESCRIPTOR_SET.read_bytes()
    methods = contract.read(descriptor_set)
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
        "largest_request_bytes": settings.largest_request_bytes,
        "largest_response_bytes": settings.largest_response_bytes,
        "allowed_origins": [{"exact": origin} for origin in settings.allowed_origins],
        **{f"rate_{name}": _bucket(getattr(allowances, name)) for name in allowances._fields},
        "tracing": _tracing(settings),
        "descriptor_set": base64.b64encode(descriptor_set).decode(),
        "transcoded": routes.transcoded(methods),
        "key_services": [routes.KEY_METHOD.strip("/").partition("/")[0]],
        "routes": routes.routes(methods, settings.stream_idle_seconds),
        "key_routes": routes.key_routes(methods),
        "token_rules": routes.token_rules(methods),
        "safe_retries": routes.SAFE_RETRIES,
        "replies": replies.mappers(),
        "clusters": clusters(endpoints, settings),
    }


def _address(name: str, address: Address) -> dict[str, Any]:
    return {f"{name}_host": address[0], f"{name}_port": address[1]}


def _bucket(bucket: Bucket) -> dict[str, Any]:
    """Refilled one by one when that is slower than a second, so that a minute's allowance does not come at once."""
    interval = bucket.per_seconds / bucket.refill if bucket.per_seconds > 1 else 1
    refill = 1 if bucket.per_seconds > 1 else bucket.refill
    return {
        "max_tokens": bucket.burst,
        "tokens_per_fill": refill,
        "fill_interval": f"{max(interval, 0.05):.3f}s",
    }


def _tracing(settings: GatewaySettings) -> dict[str, Any] | None:
    if settings.otlp is None:
        return None
    config = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "grpc_service": {"envoy_grpc": {"cluster_name": "otlp"}, "timeout": "1s"},
        "service_name": "gateway",
    }
    return {
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": config},
        "random_sampling": {"value": settings.trace_percent},
        "spawn_upstream_span": True,
    }


def _fill(node: Any, values: dict[str, Any]) -> Any:
    """The template with its holes filled; a text that is one hole takes the value's type."""
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
    """The same without keys whose value is None: parts that are switched off."""
    if isinstance(node, dict):
        return {key: _without_nothing(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [_without_nothing(item) for item in node]
    return node


def machine(base: int, registry: Path = REGISTRY, **given: Any) -> tuple[Endpoints, GatewaySettings]:
    """Endpoints and settings of one machine: everything on loopback, ports counted from the base."""
    endpoints: dict[str, list[Address]] = {}
    for name, service in _services(registry).items():
        replicas = range(int(service.get("replicas", 1)))
        endpoints[name] = [("127.0.0.1", base + int(service["port"]) + replica) for replica in replicas]
        if "websocket_port" in service:
            start = base + int(service["websocket_port"])
            endpoints[f"{name}_ws"] = [("127.0.0.1", start + replica) for replica in replicas]
    ports = {name: ("127.0.0.1", base + offset) for name, offset in (("listen", 80), ("metrics", 81), ("keys", 82))}
    return endpoints, GatewaySettings.from_environment(**{**ports, **given})


def cluster(registry: Path = REGISTRY) -> tuple[Endpoints, GatewaySettings]:
    """Endpoints and settings in Kubernetes: headless services by name, every replica found by DNS."""
    endpoints: dict[str, list[Address]] = {}
    for name, service in _services(registry).items():
        endpoints[name] = [(f"{name}.{_NAMESPACE}", 9000)]
        if "websocket_port" in service:
            endpoints[f"{name}_ws"] = [(f"{name}.{_NAMESPACE}", 9001)]
    settings = GatewaySettings.from_environment(
        listen=("0.0.0.0", 8080),  # noqa: S104 (a pod has its own network)
        metrics=("0.0.0.0", 8081),  # noqa: S104
        keys=("127.0.0.1", 8082),
        admin_socket=Path("/var/run/gateway/admin.sock"),
    )
    return endpoints, settings


def _services(registry: Path) -> dict[str, dict[str, Any]]:
    tables = tomllib.loads(registry.read_text())
    return {name: table for name, table in tables.items() if "port" in table}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes one configuration; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m envoy.generate", description="Write the gateway's configuration.")
    parser.add_argument("--target", choices=("machine", "cluster"), required=True, help="where the gateway will run")
    parser.add_argument("--out", type=Path, required=True, help="file to write, JSON")
    parser.add_argument("--base", type=int, default=18000, help="first port of the machine (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        endpoints, settings = machine(given.base) if given.target == "machine" else cluster()
        write(given.out, endpoints, settings)
    except (contract.ContractError, SettingsError, TemplateError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
