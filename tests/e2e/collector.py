"""An OpenTelemetry collector that keeps what the programs of a stack export."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import NamedTuple

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.ports import LOOPBACK, free_ports


class ExportedSpan(NamedTuple):
    """A span, and the service that exported it."""

    service: str
    span: Span


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans, as an OpenTelemetry collector does."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.exported: list[ExportedSpan] = []
        self.begun: defaultdict[str, list[Span]] = defaultdict(list)
        """The gateway's spans, each of which begins a trace, by the traceparent that their callers sent."""
        self.calls: set[tuple[str, str]] = set()
        """Service and method of every call whose duration was exported."""

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keeps spans."""
        for resource in request.resource_spans:
            service = attribute(resource.resource.attributes, "service.name")
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.exported.append(ExportedSpan(service, span))
                if sent := attribute(span.attributes, "caller.traceparent"):
                    self.begun[sent].append(span)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self, service: str, traceparent: str) -> list[Span]:
        """The spans that this service exported of the traces begun for callers with this traceparent."""
        traces = {span.trace_id for span in self.begun[traceparent]}
        return [each.span for each in self.exported if each.service == service and each.span.trace_id in traces]


class MetricsReceiver(metrics_service_pb2_grpc.MetricsServiceServicer):
    """The metrics half of a collector."""

    def __init__(self, collector: Collector) -> None:
        self._calls = collector.calls

    def Export(
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """Keeps which methods have durations."""
        for resource in request.resource_metrics:
            service = attribute(resource.resource.attributes, "service.name")
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                if metric.name == "rpc.server.call.duration":
                    points = metric.histogram.data_points
                    self._calls.update((service, attribute(point.attributes, "rpc.method")) for point in points)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def attribute(attributes: "list[KeyValue]", name: str) -> str:
    """The text of an attribute; empty when there is none."""
    return next((pair.value.string_value for pair in attributes if pair.key == name), "")


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that receives at its `endpoint`."""
    [port] = free_ports(1)
    server, collector = grpc.server(futures.ThreadPoolExecutor(4)), Collector(f"http://{LOOPBACK}:{port}")
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricsReceiver(collector), server)
    server.add_insecure_port(f"{LOOPBACK}:{port}")
    server.start()
    yield collector
    server.stop(None)
