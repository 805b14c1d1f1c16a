"""Telemetry: traces, metrics and logs. Sent by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set; logs are JSON lines.

A span of the SDK is started only when it will be recorded: one that is dropped later costs as much as policy,
validation and identity of a call together. A histogram of the SDK costs 6 µs per use, 15 in a busy server; counting in
a list costs a tenth of one, and every call of every service is counted.
"""

import logging
import os
import random
import re
import sys
import threading
import time
import traceback
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from opentelemetry import metrics, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import Observation
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, set_span_in_context

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; the buckets of every latency histogram."""
_FLUSH_SECONDS = 1.5
_EMPTY = Context()
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

tracer = trace.get_tracer("focusmesh")
meter = metrics.get_meter("focusmesh")
_ratio = 0.0
_current: ContextVar[str] = ContextVar("traceparent", default="")
"""The traceparent of the current call or message; costs a twentieth of attaching a context of the SDK."""

Recorder = Callable[[str, float], None]
"""Records one call: its status name and its seconds."""


def configure(service: str, *, replica: int, ratio: float, log_level: str) -> Callable[[], None]:
    """Sets up the process once; returns what flushes and stops it.

    ratio: share of traces to record where the caller made no sampling decision.
    """
    global _ratio  # noqa: PLW0603 (one process, one sampling decision)
    _configure_logs(service, replica, log_level)
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return lambda: None
    from mesh.runtime import otlp  # noqa: PLC0415 (slow to import, and needed only with a collector)

    _ratio = ratio
    return partial(_stop, *otlp.start(service, replica, _recorded))


def _stop(*providers: Callable[[], None]) -> None:
    """Flushes for at most 1.5 seconds: an unreachable collector would delay the exit of the process by 20 seconds."""
    flushing = [threading.Thread(target=shutdown, daemon=True) for shutdown in providers]
    for thread in flushing:
        thread.start()
    deadline = time.monotonic() + _FLUSH_SECONDS
    for thread in flushing:
        thread.join(max(0.0, deadline - time.monotonic()))


def current_traceparent() -> str:
    """The traceparent of the current call or message; empty outside one."""
    return _current.get()


def new_traceparent() -> str:
    """The traceparent of a new trace that is not recorded; W3C Trace Context."""
    ids = random.randbytes(24).hex()  # noqa: S311 (not a secret)
    return f"00-{ids[:32]}-{ids[32:]}-00"


def parent_context(traceparent: str) -> Context:
    """The context of a well-formed traceparent. The SDK's propagator takes twice as long."""
    span = SpanContext(
        int(traceparent[3:35], 16), int(traceparent[36:52], 16), True, TraceFlags(int(traceparent[53:], 16))
    )
    return set_span_in_context(NonRecordingSpan(span), _EMPTY)


class ServerSpan:
    """The span of one call or message: its trace is in every log line, and recorded when it is sampled."""

    __slots__ = ("_attached", "_known", "span", "traceparent")

    def __init__(self, name: str, traceparent: str, kind: SpanKind, attributes: Mapping[str, str]) -> None:
        """traceparent: of the caller; empty when it sent none. A malformed one is ignored."""
        self.span: Span | None = None
        self._attached: Token[Context] | None = None
        if _TRACEPARENT.fullmatch(traceparent):
            recorded = _ratio > 0 and traceparent[-1] in "13579bdf"
        else:
            recorded = _ratio > 0 and random.random() < _ratio  # noqa: S311 (not a secret)
            traceparent = "" if recorded else new_traceparent()
        if recorded:
            context = parent_context(traceparent) if traceparent else _EMPTY
            self.span = tracer.start_span(name, context, kind, attributes)
            found = self.span.get_span_context()
            traceparent = f"00-{found.trace_id:032x}-{found.span_id:016x}-01"
            self._attached = attach(set_span_in_context(self.span, _EMPTY))
        self.traceparent = traceparent
        self._known = _current.set(traceparent)

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Ends the span. error: only an unexpected one."""
        _current.reset(self._known)
        if self.span is not None:
            self.span.set_attribute("rpc.response.status_code", status)
            if error is not None:
                self.span.record_exception(error)
                self.span.set_status(trace.StatusCode.ERROR)
            self.span.end()
        if self._attached is not None:
            detach(self._attached)


class LatencyHistogram:
    """Latencies of calls with the same attributes, in buckets. Recorded on one thread, read by any."""

    __slots__ = ("attributes", "counts", "longest", "shortest", "total")

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = dict(attributes)
        self.counts = [0] * (len(BOUNDS) + 1)
        """Calls in each bucket; the last one has no bound."""
        self.total = 0.0
        self.shortest, self.longest = float("inf"), 0.0

    def record(self, seconds: float) -> None:
        """Counts one call."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)
        self.shortest = min(self.shortest, seconds)


_recorded: dict[str, list[LatencyHistogram]] = {}
"""By the name of their metric; both grow."""
_started = time.monotonic()
# The SDK exports only when it has a metric of its own; these histograms are exported together with it.
meter.create_observable_gauge("process.uptime", [lambda _: [Observation(time.monotonic() - _started)]], unit="s")


def latency_histogram(name: str, attributes: Mapping[str, str] | None = None) -> LatencyHistogram:
    """A new histogram that is exported as part of the metric of this name; seconds."""
    histogram = LatencyHistogram(attributes or {})
    _recorded.setdefault(name, []).append(histogram)
    return histogram


def call_recorder(service: str, method: str) -> Recorder:
    """Records the latency of the calls of one method; the histogram's count is the number of calls."""
    known: dict[str, LatencyHistogram] = {}

    def record(status: str, seconds: float) -> None:
        histogram = known.get(status)
        if histogram is None:
            histogram = known[status] = latency_histogram(
                "rpc.server.call.duration",
                {
                    "rpc.system": "grpc",
                    "rpc.service": service,
                    "rpc.method": method,
                    "rpc.response.status_code": status,
                },
            )
        histogram.record(seconds)

    return record


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON, with the ID of the current trace."""

    def __init__(self, service: str, replica: int) -> None:
        super().__init__()
        self._fixed = {"service": service, "replica": replica}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            **self._fixed,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if traceparent := _current.get():
            line["trace_id"] = traceparent[3:35]
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = "".join(traceback.format_exception(*record.exc_info))
        return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z).decode()


def _configure_logs(service: str, replica: int, level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(service, replica))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The pool logs every checkout at INFO.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
