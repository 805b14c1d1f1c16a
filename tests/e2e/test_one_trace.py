"""One trace from the gateway through Kafka to the consumer, and what else a collector receives."""

import json

import pytest
from focusmesh.todo.v1 import task_service_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from harness.clients import Rest
from harness.owners import Account
from harness.rpcs import BY_NAME
from harness.waiting import wait_until
from stack.stack import Stack
from tests.e2e.collector import Collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def created(stack: Stack) -> None:
    """A task was created by a call that brings the trace of its caller along."""
    rest = Rest(stack.gateway_url)
    account = Account(rest)
    request = task_service_pb2.CreateTaskRequest(title="x")
    assert rest.call(BY_NAME["CreateTask"], request, account.token, {"traceparent": TRACEPARENT}).ok
    rest.close()


def test_one_trace_leads_from_the_gateway_through_kafka_to_the_consumer(created: None, collector: Collector) -> None:
    wait_until(lambda: collector.begun[TRACEPARENT], "the gateway's span is exported")
    wait_until(lambda: collector.spans("audit", TRACEPARENT), "the consumer's span is exported")
    wait_until(lambda: collector.spans("todo", TRACEPARENT), "the service's span is exported")
    [begun] = collector.begun[TRACEPARENT]
    [served], [consumed] = collector.spans("todo", TRACEPARENT), collector.spans("audit", TRACEPARENT)
    assert begun.parent_span_id == b""
    assert begun.trace_id.hex() != TRACE
    assert (served.kind, served.name) == (Span.SPAN_KIND_SERVER, "focusmesh.todo.v1.TaskService/CreateTask")
    assert served.parent_span_id == begun.span_id
    assert (consumed.kind, consumed.name) == (Span.SPAN_KIND_CONSUMER, "process task-created")
    assert consumed.parent_span_id == served.span_id


def test_the_durations_of_calls_are_exported(created: None, collector: Collector) -> None:
    expected = {("todo", "CreateTask"), ("auth", "Register")}
    wait_until(lambda: expected <= collector.calls, "both calls were measured")


def test_every_line_of_a_services_log_is_json_with_time_level_and_service(created: None, stack: Stack) -> None:
    for replica in stack.replicas:
        lines = stack.state.log(replica.name).read_text().splitlines()
        assert lines
        for line in map(json.loads, lines):
            assert {"time", "level", "service", "replica", "logger", "message"} <= line.keys()
            assert (line["service"], line["replica"]) == (replica.service.name, replica.number)
