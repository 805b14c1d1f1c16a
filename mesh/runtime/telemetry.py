"""Telemetry: traces, metrics and logs. Sent by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set; logs are JSON lines.

The SDK is asked for a span only when it will be recorded: a span that is dropped later costs as much as the policy,
validation and identity of a call together.
"""

import logging
import os
import random
import re
import sys
import threading
import time
import traceback
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

from mesh.runtime.durations import LatencyHistogram

_FLUSH_SECONDS = 1.5
_EMPTY = Context()
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

tracer = trace.get_tracer("focusmesh")
meter = metrics.get_meter("focusmesh")
_ratio = 0.0
_current: ContextVar[str] = ContextVar("traceparent", default="")
"""Of the call or message that is worked on; costs a twentieth of attaching a context of the SDK."""

Recorder = Callable[[str, float], None]
"""Takes the status name and the seconds of one call."""


def configure(service: str, *, replica: int, ratio: float, log_level: str) -> Callable[[], None]:
    """Sets up the process once; returns what flushes and stops it.

    ratio: share of the traces to record that no caller decided about.
    """
    global _ratio  # noqa: PLW0603 (one process, one sampling decision)
    _configure_logs(service, replica, log_level)
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return lambda: None
    from mesh.runtime import otlp  # noqa: PLC0415 (slow to import, and needed only with a collector)

    _ratio = ratio
    return partial(_stop, *otlp.start(service, replica, _calls))


def _stop(*providers: Callable[[], None]) -> None:
    """Flushes what is not sent yet; a collector that is away would hold up the end of the process for 20 seconds."""
    flushing = [threading.Thread(target=shutdown, daemon=True) for shutdown in providers]
    for thread in flushing:
        thread.start()
    deadline = time.monotonic() + _FLUSH_SECONDS
    for thread in flushing:
        thread.join(max(0.0, deadline - time.monotonic()))


def current_traceparent() -> str:
    """The trace of the call or message that is worked on; empty outside one."""
    return _current.get()


def new_traceparent() -> str:
    """The start of a trace that is not recorded; W3C Trace Context."""
    ids = random.randbytes(24).hex()  # noqa: S311 (not a secret)
    return f"00-{ids[:32]}-{ids[32:]}-00"


def parent_context(traceparent: str) -> Context:
    """The context that a well-formed traceparent names. The SDK's propagator takes twice as long."""
    span = SpanContext(
        int(traceparent[3:35], 16), int(traceparent[36:52], 16), True, TraceFlags(int(traceparent[53:], 16))
    )
    return set_span_in_context(NonRecordingSpan(span), _EMPTY)


class ServerSpan:
    """The trace of one call or message: known to the log while it runs, recorded when its caller or chance says so."""

    __slots__ = ("_attached", "_known", "span", "traceparent")

    def __init__(self, name: str, traceparent: str, kind: SpanKind, attributes: Mapping[str, str]) -> None:
        """traceparent: of the caller; empty when it sent none. A malformed one is not passed on."""
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
        """Ends it; with the error only when nobody expected it."""
        _current.reset(self._known)
        if self.span is not None:
            self.span.set_attribute("rpc.response.status_code", status)
            if error is not None:
                self.span.record_exception(error)
                self.span.set_status(trace.StatusCode.ERROR)
            self.span.end()
        if self._attached is not None:
            detach(self._attached)


_calls: list[LatencyHistogram] = []
_started = time.monotonic()
# The SDK exports nothing while it measured nothing itself, and the durations of calls go out with what it measured.
meter.create_observable_gauge("process.uptime", [lambda _: [Observation(time.monotonic() - _started)]], unit="s")


def call_recorder(service: str, method: str) -> Recorder:
    """Records the duration of the calls of one method; the histogram's count is the number of calls."""
    known: dict[str, LatencyHistogram] = {}

    def record(status: str, seconds: float) -> None:
        durations = known.get(status)
        if durations is None:
            durations = known[status] = LatencyHistogram(
                {
                    "rpc.system": "grpc",
                    "rpc.service": service,
                    "rpc.method": method,
                    "rpc.response.status_code": status,
                }
            )
            _calls.append(durations)
        durations.record(seconds)

    return record


class JsonLines(logging.Formatter):
    """One JSON object a line, with the trace that it belongs to."""

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
