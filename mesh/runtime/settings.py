"""Settings from the environment: the field `kafka_bootstrap` of a dataclass is read from FOCUSMESH_KAFKA_BOOTSTRAP.

A field without a default is required. Every missing or malformed variable is named in one message, so that an operator
mends them in one go.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, get_type_hints

PREFIX = "FOCUSMESH_"
Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What every service is told."""

    listen: str
    """Address of the gRPC server, host:port."""
    database_url: str = ""
    """Runtime role; may read and write its own schema, and change no table."""
    redis_url: str
    kafka_bootstrap: str
    """Brokers, host:port, comma-separated."""
    jwks_target: str
    """gRPC address of the auth service, whose keys verify access tokens."""
    issuer: str = "https://auth.focusmesh"
    audience: str = "focusmesh"
    page_token_key: str
    """Secret that page tokens are signed with; the same for all replicas."""
    service_key_file: str = ""
    """Ed25519 private key, PKCS #8 PEM: signs the calls to other services. Needed by a service that calls one."""
    caller_keys: str = ""
    """Public keys of the services that call this one: `name=file;name=file`, PEM. A name stands twice while its key is
    replaced: the next one is added here, then signs, then the old one is taken away."""
    call_targets: str = ""
    """gRPC addresses of the services that this one calls: `name=address;name=address`. The address
    `ipv4:host:port,host:port` names several replicas."""
    replica: int = 0
    drain_seconds: float = 3.0
    """How long a stopping service serves on after it said NOT_SERVING: longer than the gateway's health interval."""
    stop_grace_seconds: float = 5.0
    """How long running calls may take to end once no new ones are accepted."""
    database_connections: int = 8
    """Two are too few (1.3 times the CPU per call), more than eight gain nothing."""
    statement_timeout_ms: int = 5000
    max_concurrent_calls: int = 500
    """More at once are refused with RESOURCE_EXHAUSTED before anything is done for them; health checks do not count."""
    log_level: str = "INFO"
    trace_ratio: float = 0.1
    """Share of traces that are recorded when the caller did not decide."""
    reflection: bool = True
    """Serve gRPC reflection on the service's own port; the gateway never routes to it."""
    tls_certificate_file: str = ""
    """PEM; shown to callers, and to every service that is called. Empty: plain text, for one machine or in a mesh that
    encrypts."""
    tls_key_file: str = ""
    tls_client_ca_file: str = ""
    """When set, callers must present a certificate of this authority (mTLS), and services that are called have one."""
    kafka_options: str = ""
    """Further librdkafka settings such as TLS and SASL: `name=value;name=value`."""


def load(kind: type[Settings], environment: Mapping[str, str]) -> Settings:
    """Reads a settings dataclass; raises SystemExit that names every variable which is missing or malformed."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for field in fields(kind):  # type: ignore[arg-type]  # every caller passes a dataclass
        name = PREFIX + field.name.upper()
        text = environment.get(name)
        if text is None:
            if field.default is MISSING:
                wrong.append(f"{name} is not set")
            continue
        try:
            values[field.name] = _parse(hints[field.name], text)
        except ValueError:
            wrong.append(f"{name}={text!r} is not of type {hints[field.name].__name__}")
    if wrong:
        raise SystemExit(f"{kind.__module__}: {'; '.join(wrong)}. `make up` sets them all.")
    return kind(**values)


def pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of `name=value;name=value`; raises ValueError. A name may stand more than once."""
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
