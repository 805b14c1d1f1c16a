"""Settings from the environment: the field `kafka_bootstrap` of a dataclass is read from FOCUSMESH_KAFKA_BOOTSTRAP.

A field without a default is required. One message names every missing or malformed variable, so that an operator
can fix them all at once.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, get_type_hints

PREFIX = "FOCUSMESH_"
Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Settings that every service has."""

    listen: str
    """Address of the gRPC server, host:port."""
    database_url: str = ""
    """URL of the runtime role, which may read and write the rows of its own schema, and alter no table."""
    redis_url: str
    """Redis of auth: ended sessions, which every service follows."""
    own_redis_url: str = ""
    """Redis of what this service keeps of its own, so that no other service can fill it. Empty: `redis_url`."""
    kafka_bootstrap: str
    """Brokers, host:port, comma-separated."""
    jwks_target: str
    """gRPC address of the auth service, whose public keys verify access tokens."""
    issuer: str = "https://auth.focusmesh"
    audience: str = "focusmesh"
    page_token_key: str
    """Secret that signs page tokens; the same for all replicas."""
    service_key_file: str = ""
    """Ed25519 private key, PKCS #8 PEM: signs calls to other services. Required by a service that makes them."""
    caller_keys: str = ""
    """Public keys of the services that call this one: `name=file;name=file`, PEM. A name occurs twice while its key is
    replaced: add the new key here, sign with it, then remove the old one."""
    call_targets: str = ""
    """gRPC addresses of the services that this one calls: `name=address;name=address`. The address
    `ipv4:host:port,host:port` names several replicas."""
    replica: int = 0
    consumer_instance: str = ""
    """Stable name of this replica, which no other has at the same time: over a quick restart its consumer keeps its
    partitions, and nobody waits for a new assignment. Empty: where names change with each start."""
    drain_seconds: float = 3.0
    """How long a stopping service serves after it reports NOT_SERVING: longer than the gateway's health interval. Up to
    twice that while calls still begin."""
    stop_grace_seconds: float = 5.0
    """How long running calls may take to end once new ones are not accepted."""
    database_connections: int = 8
    """Size of the pool. Two cost 1.3 times the CPU per call; more than eight gain nothing."""
    statement_timeout_ms: int = 5000
    max_concurrent_calls: int = 200
    """Further calls are refused at once with RESOURCE_EXHAUSTED; health checks and streams do not count. More than one
    user may begin at once by the gateway's allowances (100 reads, 60 writes), so that alone he shuts nobody out; more
    than a service needs to be busy only make all of them wait."""
    max_concurrent_streams: int = 500
    """Calls whose responses are a stream; the same for them."""
    log_level: str = "INFO"
    trace_ratio: float = 0.1
    """Share of traces that are recorded where the caller made no sampling decision."""
    reflection: bool = True
    """Serve gRPC reflection on the service's own port; the gateway never routes to it."""
    tls_certificate_file: str = ""
    """PEM; presented to callers and callees. Empty: plain text, for one machine or a service mesh that encrypts."""
    tls_key_file: str = ""
    tls_client_ca_file: str = ""
    """When set, callers, and services that are called, must present a certificate of this CA (mTLS)."""
    kafka_options: str = ""
    """Further librdkafka settings such as TLS and SASL: `name=value;name=value`."""


def load(kind: type[Settings], environment: Mapping[str, str]) -> Settings:
    """Reads a settings dataclass; raises SystemExit that names every missing or malformed variable."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field in fields(kind):  # type: ignore[arg-type]  # every caller passes a dataclass
        name = PREFIX + field.name.upper()
        text = environment.get(name)
        if text is None:
            if field.default is MISSING:
                faults.append(f"{name} is not set")
            continue
        try:
            values[field.name] = _parse(hints[field.name], text)
        except ValueError:
            faults.append(f"{name}={text!r} is not of type {hints[field.name].__name__}")
    if faults:
        raise SystemExit(f"{kind.__module__}: {'; '.join(faults)}. `make up` sets them all.")
    return kind(**values)


def pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of `name=value;name=value`; raises ValueError. A name may occur more than once."""
    found = [option.partition("=") for option in map(str.strip, text.split(";")) if option]
    for name, equals, _ in found:
        if not equals:
            raise ValueError(f"{name!r} is not of the form name=value")
    return [(name, value) for name, _, value in found]


def _parse(kind: type, text: str) -> object:
    if kind is bool:
        if text.lower() not in {"0", "1", "true", "false"}:
            raise ValueError(text)
        return text.lower() in {"1", "true"}
    return kind(text)
