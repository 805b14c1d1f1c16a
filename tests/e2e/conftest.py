"""The stack that the end-to-end tests share."""

from collections.abc import Iterator

import pytest

from harness.notified import NOWHERE
from stack.stack import Stack
from tests.e2e.collector import Collector, collecting
from tests.support.ports import ADDRESS_OF_OTHERS
from tests.support.stacks import started

_EVERY_RATE = ("ADDRESS", "CREDENTIAL", "SESSION", "READ", "WRITE", "EXPENSIVE", "STREAM", "FEED")
_NO_LIMITS = {f"FOCUSMESH_GATEWAY_RATE_{name}": "1000000 then 1000000/s" for name in _EVERY_RATE}


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Receives the traces and metrics of the stack."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
def stack(collector: Collector) -> Iterator[Stack]:
    """A whole stack behind its gateway, whose rate limits are out of the way; it exports to the collector."""
    environment = {
        **_NO_LIMITS,
        "FOCUSMESH_GUESTS_PER_NETWORK": "1000000",
        # A provider of SMS that is not called: it is not public.
        "FOCUSMESH_SMS_URL": NOWHERE,
        "FOCUSMESH_OUTGOING_ALLOWED_NETWORKS": f"{ADDRESS_OF_OTHERS}/32",
        # Nobody has to notice that its services stop; a restart would need it.
        "FOCUSMESH_DRAIN_SECONDS": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        # Services record what the gateway does, and begin few traces themselves.
        "FOCUSMESH_GATEWAY_TRACE_PERCENT": "100",
        "FOCUSMESH_TRACE_RATIO": "0.01",
    }
    with started("stack", environment=environment) as stack:
        yield stack
