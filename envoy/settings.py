"""Settings of the gateway. The defaults are for production; a benchmark raises the allowances."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

_BUCKET = re.compile(r"(\d+) then (\d+)/(s|min)")
_RATE = "FOCUSMESH_GATEWAY_RATE_"

Address = tuple[str, int]


class SettingsError(Exception):
    """A setting is malformed."""


class Bucket(NamedTuple):
    """An allowance: a burst, then a number of calls per period."""

    burst: int
    refill: int
    per_seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `60 then 30/s` or `10 then 20/min`; raises SettingsError."""
        found = _BUCKET.fullmatch(text.strip())
        if not found or not int(found[1]) or not int(found[2]):
            raise SettingsError(f"{text!r} is no allowance; write `60 then 30/s` or `10 then 20/min`")
        return cls(int(found[1]), int(found[2]), 1 if found[3] == "s" else 60)


class Allowances(NamedTuple):
    """Numbers of calls that are allowed. Each gateway counts for itself."""

    address: Bucket = Bucket(400, 200, 1)
    """Everything from one address (IPv6: one /64), before tokens are verified."""
    credential: Bucket = Bucket(20, 30, 60)
    """Register, Login and the like from one address."""
    session: Bucket = Bucket(100, 300, 60)
    """Refresh and Logout from one address."""
    read: Bucket = Bucket(100, 50, 1)
    """Reads of one user."""
    write: Bucket = Bucket(60, 30, 1)
    """Writes of one user."""
    expensive: Bucket = Bucket(40, 2, 1)
    """Reads and writes of one user that may take many times the work of others."""
    stream: Bucket = Bucket(10, 30, 60)
    """Streams that one user opens."""
    feed: Bucket = Bucket(60, 5, 1)
    """Readings of feeds from one address: of one user's programs, or of a provider's for many users."""


@dataclass(frozen=True)
class UpstreamTls:
    """The gateway's certificate and the authority of the services, for mTLS between pods."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True)
class GatewaySettings:
    """One gateway."""

    listen: Address = ("127.0.0.1", 18080)
    """REST, gRPC, gRPC-Web and WebSocket."""
    metrics: Address = ("127.0.0.1", 18081)
    """`/stats/prometheus` and `/ready`; for operators only."""
    keys: Address = ("127.0.0.1", 18082)
    """Listener through which the gateway itself fetches the keys of tokens; always loopback."""
    admin_socket: Path = Path(".run/gateway.sock")
    """Unix socket of the administration, mode 0600; its path may have at most 100 characters."""
    issuer: str = "https://auth.focusmesh"
    audience: str = "focusmesh"
    key_cache_seconds: int = 300
    """How long keys are cached: publish a new key this long before it signs."""
    allowances: Allowances = field(default_factory=Allowances)
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may call; compared exactly."""
    trusted_hops: int = 0
    """Load balancers in front that add to `x-forwarded-for`; 0: the address of the connection is the caller's."""
    proxy_protocol: bool = False
    """Whether every connection begins with the PROXY protocol, version 1 or 2, of the load balancer in front."""
    largest_request_bytes: int = 1 << 20
    """Equal to the limit of services, for RPCs that do not say more in their policy."""
    largest_response_bytes: int = 8 << 20
    """Of a REST response."""
    stream_idle_seconds: int = 120
    """A stream is closed after this time without a frame; longer than two heartbeats."""
    heap_bytes: int = 512 << 20
    """New requests are refused above 95 % of it."""
    most_connections: int = 10_000
    calls_at_once: int = 1000
    """To each address of a service, streams not counted; further ones are refused. It bounds memory and no work: a call
    counts from its headers until its caller has read the response, and takes the service itself
    (`max_concurrent_calls`) only meanwhile. A name counts as one address."""
    access_log: str = "/dev/stdout"
    otlp: Address | None = None
    """OTLP over gRPC; None: no spans, and services begin their own traces."""
    trace_percent: float = 10.0
    """Of the calls; no caller decides that its trace is recorded."""
    upstream_tls: UpstreamTls | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **given: Any) -> Self:
        """The settings with everything that the environment names; `given` overrides it. Raises SettingsError.

        FOCUSMESH_GATEWAY_RATE_READ (and of every other field of Allowances) such as `60 then 30/s`;
        FOCUSMESH_GATEWAY_KEY_CACHE_SECONDS, _HEAP_BYTES, _CALLS_AT_ONCE, _TRACE_PERCENT, _TRUSTED_HOPS,
        _PROXY_PROTOCOL (`true` or `false`); FOCUSMESH_GATEWAY_UPSTREAM_TLS, the paths
        `certificate,key,authority`; FOCUSMESH_ISSUER, FOCUSMESH_AUDIENCE, FOCUSMESH_ALLOWED_ORIGINS (comma list);
        OTEL_EXPORTER_OTLP_ENDPOINT; FOCUSMESH_TRACE_RATIO, used where no percentage is given.
        """
        found: dict[str, Any] = {}
        for variable, (name, read) in _VARIABLES.items():
            if environment.get(variable):
                found[name] = read(environment[variable])
        return cls(**{"allowances": _allowances(environment), **found, **given})


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """What an environment sets of the gateway; services know these variables too."""
    return {name: value for name, value in environment.items() if name in _VARIABLES or name.startswith(_RATE)}


def _allowances(environment: Mapping[str, str]) -> Allowances:
    names = {f"{_RATE}{name.upper()}": name for name in Allowances._fields}
    given = {name: value for name, value in environment.items() if name.startswith(_RATE)}
    if unknown := given.keys() - names.keys():
        raise SettingsError(f"no such allowance: {', '.join(sorted(unknown))}")
    return Allowances(**{names[name]: Bucket.parse(value) for name, value in given.items()})


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise SettingsError(f"{text!r} is not a whole number")
    return int(text)


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise SettingsError(f"{text!r} is neither true nor false")
    return text == "true"


def _percent(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not a number") from None


def _ratio(text: str) -> float:
    return 100 * _percent(text)


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _otlp(endpoint: str) -> Address:
    """Host and port of `http://host:4317`."""
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    if not url.hostname:
        raise SettingsError(f"{endpoint!r} is no endpoint")
    return url.hostname, url.port or 4317


def _tls(files: str) -> UpstreamTls:
    paths = [Path(file) for file in _list(files)]
    if len(paths) != 3:
        raise SettingsError("upstream TLS needs three files: certificate,key,authority")
    return UpstreamTls(*paths)


_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "FOCUSMESH_ISSUER": ("issuer", str),
    "FOCUSMESH_AUDIENCE": ("audience", str),
    "FOCUSMESH_ALLOWED_ORIGINS": ("allowed_origins", _list),
    "FOCUSMESH_GATEWAY_KEY_CACHE_SECONDS": ("key_cache_seconds", _whole),
    "FOCUSMESH_GATEWAY_HEAP_BYTES": ("heap_bytes", _whole),
    "FOCUSMESH_GATEWAY_TRUSTED_HOPS": ("trusted_hops", _whole),
    "FOCUSMESH_GATEWAY_PROXY_PROTOCOL": ("proxy_protocol", _yes_or_no),
    "FOCUSMESH_GATEWAY_CALLS_AT_ONCE": ("calls_at_once", _whole),
    "FOCUSMESH_GATEWAY_UPSTREAM_TLS": ("upstream_tls", _tls),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("otlp", _otlp),
    "FOCUSMESH_TRACE_RATIO": ("trace_percent", _ratio),
    "FOCUSMESH_GATEWAY_TRACE_PERCENT": ("trace_percent", _percent),
}
"""Variable to field; of two variables for one field the later wins."""


def is_ip(host: str) -> bool:
    """Whether it is an address, and not a name that must be resolved."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
