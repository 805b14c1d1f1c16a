"""A collector that takes OTLP over gRPC and keeps only counts: tracing is on while the benchmark runs.

    python -m bench.sink LISTEN FILE

Writes the number of spans by service to FILE when it stops.
"""

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts spans."""

    def __init__(self) -> None:
        self.spans: Counter[str] = Counter()

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        for resource in request.resource_spans:
            names = {item.key: item.value.string_value for item in resource.resource.attributes}
            self.spans[names.get("service.name", "")] += sum(len(scope.spans) for scope in resource.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Discards metrics."""

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return metrics_service_pb2.ExportMetricsServiceResponse()


async def serve(listen: str) -> dict[str, int]:
    """Serves until SIGTERM; returns the number of spans by service."""
    traces = Traces()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(traces, server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(listen)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(0.2)
    return traces.spans


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(serve(sys.argv[1]))))
