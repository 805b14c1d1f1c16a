"""Where calls go: one cluster per service, and the gateway's own."""

from collections.abc import Mapping, Sequence
from typing import Any

from envoy.routes import FEED_CLUSTER, NO_CLUSTER, STREAMS_PRIORITY, WEBSOCKET_CLUSTER
from envoy.settings import Address, GatewaySettings, UpstreamTls, is_ip

Json = dict[str, Any]
Endpoints = Mapping[str, Sequence[Address]]

_TYPE = "type.googleapis.com"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_REALTIME = "realtime"
_STREAMS = 10_000
"""Most open at once to a service. They last, and mostly wait."""
_HTTP2: Json = {"explicit_http_config": {"http2_protocol_options": {}}}
_HTTP1: Json = {"explicit_http_config": {"http_protocol_options": {}}}
# The listener of feeds closes an idle connection after 60 s.
_OF_FEEDS: Json = {**_HTTP1, "common_http_protocol_options": {"idle_timeout": "30s"}}
# A WebSocket uses HTTP/1.1, its health check HTTP/2.
_CALLERS_PROTOCOL: Json = {"use_downstream_protocol_config": {"http2_protocol_options": {}}}

_EJECTION: Json = {
    # Counts only connection failures. The caller may have caused an error response (a deadline too short, a body that
    # gRPC cannot unpack); the health check decides whether the service is healthy.
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 5,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "interval": "5s",
    "base_ejection_time": "5s",
    # At most half, so never the only replica.
    "max_ejection_percent": 50,
}


def clusters(endpoints: Endpoints, settings: GatewaySettings) -> list[Json]:
    """Every cluster that the routes and the gateway itself name; one without an endpoint responds UNAVAILABLE."""
    services = [_service(name, found, endpoints, settings) for name, found in endpoints.items()]
    admin = {"endpoint": {"address": {"pipe": {"path": str(settings.admin_socket)}}}}
    own = [
        _cluster(NO_CLUSTER, []),
        _cluster("keys", [settings.keys], _HTTP1),
        {"name": "admin", "type": "STATIC", "load_assignment": _assignment("admin", [admin])},
    ]
    if settings.otlp:
        own.append(_cluster("otlp", [settings.otlp]))
    return services + own


def _service(name: str, found: Sequence[Address], endpoints: Endpoints, settings: GatewaySettings) -> Json:
    """The cluster of a service: health-checked every second, and never called while it reports NOT_SERVING."""
    websocket, feed = name == WEBSOCKET_CLUSTER, name == FEED_CLUSTER
    # The WebSocket's port serves no gRPC; the health check uses the gRPC port of the same process.
    health_ports = [port for _, port in endpoints[_REALTIME]] if websocket else [0] * len(found)
    protocol = _CALLERS_PROTOCOL if websocket else _OF_FEEDS if feed else _HTTP2
    cluster = _cluster(name, found, protocol, health_ports)
    tls = settings.upstream_tls
    return {
        **cluster,
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                _most(_STREAMS if websocket else settings.calls_at_once * len(found)),
                {"priority": STREAMS_PRIORITY, **_most(_STREAMS)},
            ]
        },
        "health_checks": [
            {
                # A check by gRPC needs HTTP/2.
                **({"http_health_check": {"path": "/healthz"}} if feed else {"grpc_health_check": {}}),
                # Where there are certificates; the WebSocket's health is asked for on another port than it has.
                "tls_options": {"alpn_protocols": ["http/1.1" if feed else "h2"]},
                "timeout": "0.5s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                # Reconnects soon after a fault.
                "unhealthy_interval": "0.25s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
            }
        ],
        "outlier_detection": _EJECTION,
        # Never routes to a replica that is known to be unhealthy.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 5, "keepalive_probes": 3}
        },
        **({"transport_socket": _tls(tls, found, "http/1.1" if websocket or feed else "h2")} if tls else {}),
    }


def _most(calls: int) -> Json:
    """At most so many calls at once. A service that is busy only makes further ones wait, so they are refused."""
    return {
        "max_connections": calls,
        "max_pending_requests": calls,
        "max_requests": calls,
        "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 20},
    }


def _cluster(
    name: str, found: Sequence[Address], protocol: Json = _HTTP2, health_ports: Sequence[int] | None = None
) -> Json:
    ports = health_ports or [0] * len(found)
    endpoints = [_endpoint(host, port, health) for (host, port), health in zip(found, ports, strict=True)]
    by_name = any(not is_ip(host) for host, _ in found)
    resolving: Json = {
        "type": "STRICT_DNS",
        "dns_lookup_family": "ALL",
        "dns_refresh_rate": "2s",
        "respect_dns_ttl": False,
    }
    return {
        "name": name,
        **(resolving if by_name else {"type": "STATIC"}),
        "connect_timeout": "0.5s",
        "per_connection_buffer_limit_bytes": 32768,
        "load_assignment": _assignment(name, endpoints),
        "typed_extension_protocol_options": {_HTTP_OPTIONS: {"@type": f"{_TYPE}/{_HTTP_OPTIONS}", **protocol}},
    }


def _assignment(name: str, endpoints: list[Json]) -> Json:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}


def _endpoint(host: str, port: int, health_port: int) -> Json:
    health = {"health_check_config": {"port_value": health_port}} if health_port else {}
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}, **health}}


def _tls(tls: UpstreamTls, found: Sequence[Address], protocol: str) -> Json:
    """Presents the gateway's certificate, and requires one of the authority that names the called host."""
    context = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    certificate = {
        "certificate_chain": {"filename": str(tls.certificate)},
        "private_key": {"filename": str(tls.key)},
    }
    hosts = [
        {"san_type": "IP_ADDRESS" if is_ip(host) else "DNS", "matcher": {"exact": host}}
        for host in sorted({host for host, _ in found})
    ]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}/{context}",
            "common_tls_context": {
                "tls_certificates": [certificate],
                "validation_context": {
                    "trusted_ca": {"filename": str(tls.authority)},
                    "match_typed_subject_alt_names": hosts,
                },
                # Without it a gRPC server refuses the connection.
                "alpn_protocols": [protocol],
            },
        },
    }
