"""One trace from the gateway through Kafka to the consumer, and what else a collector receives."""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import NamedTuple

import grpc
import pytest
from focusmesh.todo.v1 import task_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from harness.waiting import wait_until
from stack.stack import Stack
from tests.support.accounts import Account
from tests.support.clients import Rest
from tests.support.ports import LOOPBACK, free_ports
from tests.support.rpcs import BY_NAME
from tests.support.stacks import started

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class ExportedSpan(NamedTuple):
    """A span, and the service that exported it."""

    service: str
    span: Span


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.exported: list[ExportedSpan] = []
        self.calls: set[tuple[str, str]] = set()
        """Service and method of every call whose duration was exported."""

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keeps spans."""
        for resource in request.resource_spans:
            service = attribute(resource.resource.attributes, "service.name")
            self.exported += [ExportedSpan(service, span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, service: str) -> list[Span]:
        """The spans of the trace that this service exported."""
        return [
            exported.span
            for exported in self.exported
            if exported.service == service and exported.span.trace_id.hex() == TRACE
        ]

    def of_gateway(self) -> set[bytes]:
        """Ids of the gateway's spans."""
        return {
            exported.span.span_id for exported in self.exported if exported.service not in {"auth", "todo", "audit"}
        }


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


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, int]]:
    """A collector and its port."""
    [port] = free_ports(1)
    server, collector = grpc.server(futures.ThreadPoolExecutor(4)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricsReceiver(collector), server)
    server.add_insecure_port(f"{LOOPBACK}:{port}")
    server.start()
    yield collector, port
    server.stop(None)


@pytest.fixture(scope="module")
def observed(collector: tuple[Collector, int]) -> Iterator[Stack]:
    """A stack that exports to the collector."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:{collector[1]}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "FOCUSMESH_TRACE_RATIO": "0.01",
    }
    with started("observed", only=("auth", "todo", "audit"), environment=environment) as stack:
        yield stack


@pytest.fixture(scope="module")
def created(observed: Stack) -> None:
    """A task was created by a call that brings a trace along."""
    rest = Rest(observed.gateway_url)
    account = Account(rest)
    request = task_service_pb2.CreateTaskRequest(title="x")
    traceparent = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    assert rest.call(BY_NAME["CreateTask"], request, account.token, traceparent).ok
    rest.close()


def test_one_trace_leads_from_the_gateway_through_kafka_to_the_consumer(
    created: None, collector: tuple[Collector, int]
) -> None:
    collected, _ = collector
    wait_until(lambda: collected.of("audit"), "the consumer's span is exported")
    wait_until(lambda: collected.of("todo"), "the service's span is exported")
    [served], [consumed] = collected.of("todo"), collected.of("audit")
    wait_until(lambda: served.parent_span_id in collected.of_gateway(), "the gateway's span is exported")
    assert (served.kind, served.name) == (Span.SPAN_KIND_SERVER, "focusmesh.todo.v1.TaskService/CreateTask")
    assert (consumed.kind, consumed.name) == (Span.SPAN_KIND_CONSUMER, "process task-created")
    assert consumed.parent_span_id == served.span_id


def test_the_durations_of_calls_are_exported(created: None, collector: tuple[Collector, int]) -> None:
    collected, _ = collector
    expected = {("todo", "CreateTask"), ("auth", "Register")}
    wait_until(lambda: expected <= collected.calls, "both calls were measured")


def test_every_line_of_a_services_log_is_json_with_time_level_and_service(created: None, observed: Stack) -> None:
    for replica in observed.replicas:
        lines = observed.state.log(replica.name).read_text().splitlines()
        assert lines
        for line in map(json.loads, lines):
            assert {"time", "level", "service", "replica", "logger", "message"} <= line.keys()
            assert (line["service"], line["replica"]) == (replica.service.name, replica.number)
