"""The spans that a process under test records."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesh.runtime import telemetry


@contextmanager
def recorded() -> Iterator[InMemorySpanExporter]:
    """Every span that ends within the block."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telemetry, "tracer", provider.get_tracer("test"))
        patch.setattr(telemetry, "_ratio", 1.0)
        yield exporter
    provider.shutdown()
