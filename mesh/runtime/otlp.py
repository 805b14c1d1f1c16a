"""Export of traces and metrics by OTLP; imported only when a collector is configured: the SDK is slow to import."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from mesh.runtime.telemetry import BOUNDS, LatencyHistogram


def start(service: str, replica: int, recorded: Mapping[str, Sequence[LatencyHistogram]]) -> list[Callable[[], None]]:
    """Sets the providers of the process; returns what flushes and stops them. recorded: by metric; may grow."""
    resource = Resource.create(
        {"service.name": service, "service.namespace": "focusmesh", "service.instance.id": str(replica)}
    )
    traces = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(traces)
    exporter = LatencyExporter(recorded, resource, OTLPMetricExporter())
    meters = MeterProvider([PeriodicExportingMetricReader(exporter)], resource, shutdown_on_exit=False)
    metrics.set_meter_provider(meters)
    return [traces.shutdown, meters.shutdown]


class LatencyExporter(MetricExporter):
    """Exports latency histograms together with the metrics that the SDK collected; everything is cumulative."""

    def __init__(
        self, recorded: Mapping[str, Sequence[LatencyHistogram]], resource: Resource, inner: MetricExporter
    ) -> None:
        """recorded: by metric; may grow. inner: the exporter that sends."""
        super().__init__()
        self._recorded, self._resource, self._inner = recorded, resource, inner
        self._began = time.time_ns()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Exports all in one request."""
        now = time.time_ns()
        latencies = [self._metric(name, tuple(recorded), now) for name, recorded in tuple(self._recorded.items())]
        scope = ScopeMetrics(InstrumentationScope("focusmesh"), latencies, "")
        combined = MetricsData([*metrics_data.resource_metrics, ResourceMetrics(self._resource, [scope], "")])
        return self._inner.export(combined, timeout_millis, **kwargs)

    def _metric(self, name: str, recorded: Sequence[LatencyHistogram], now: int) -> Metric:
        points = [_point(histogram, self._began, now) for histogram in recorded]
        return Metric(name, "", "s", Histogram(points, AggregationTemporality.CUMULATIVE))

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Delegates to the exporter that sends."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Delegates to the exporter that sends."""
        self._inner.shutdown(timeout_millis, **kwargs)


def _point(latencies: LatencyHistogram, began: int, now: int) -> HistogramDataPoint:
    counts = list(latencies.counts)
    return HistogramDataPoint(
        latencies.attributes,
        began,
        now,
        sum(counts),
        latencies.total,
        counts,
        BOUNDS,
        latencies.shortest,
        latencies.longest,
    )
