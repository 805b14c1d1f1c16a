"""Durations of calls are counted in buckets, and exported with what the SDK measured."""

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from mesh.runtime.otlp import LatencyExporter
from mesh.runtime.telemetry import BOUNDS, LatencyHistogram


class Kept(MetricExporter):
    """Keeps the metrics that it exports."""

    def __init__(self) -> None:
        super().__init__()
        self.exported: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.exported.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def exported(durations: LatencyHistogram) -> list[Metric]:
    """The exported metrics while the SDK has one of its own."""
    kept = Kept()
    reader = PeriodicExportingMetricReader(LatencyExporter({"calls": [durations]}, Resource.create({}), kept))
    provider = MeterProvider([reader])
    provider.get_meter("test").create_counter("others").add(1)
    reader.collect()
    provider.shutdown()
    return [
        metric
        for resource in kept.exported[0].resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def test_a_call_is_counted_in_the_bucket_of_its_duration() -> None:
    durations = LatencyHistogram({"rpc.method": "GetTask"})
    for seconds in (0.0005, BOUNDS[0], 0.003, 60.0):
        durations.record(seconds)
    [histogram] = [metric for metric in exported(durations) if metric.name == "calls"]
    [point] = histogram.data.data_points
    assert point.count == 4
    assert list(point.bucket_counts) == [2, 0, 1, *[0] * (len(BOUNDS) - 3), 1]
    assert (point.min, point.max, point.sum) == (0.0005, 60.0, 0.0005 + BOUNDS[0] + 0.003 + 60.0)


def test_the_histogram_leaves_with_the_metrics_of_the_sdk() -> None:
    durations = LatencyHistogram({"rpc.method": "GetTask"})
    durations.record(0.003)
    sent = exported(durations)
    assert {"calls", "others"} <= {metric.name for metric in sent}
    [histogram] = [metric for metric in sent if metric.name == "calls"]
    assert [point.count for point in histogram.data.data_points] == [1]
