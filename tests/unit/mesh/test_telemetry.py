"""Traces of calls that are not recorded, and what the log says of them."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.trace import SpanKind

from mesh.runtime.telemetry import JsonLines, ServerSpan, new_traceparent

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def a_call(traceparent: str) -> Iterator[str]:
    """The traceparent that a call goes on with."""
    call = ServerSpan("todo/CreateTask", traceparent, SpanKind.SERVER, {})
    yield call.traceparent
    call.end("OK")


def line(message: str = "x") -> dict[str, object]:
    """The record that the log writes now."""
    record = logging.LogRecord("mesh", logging.INFO, __file__, 1, message, None, None)
    text = JsonLines("todo", 2).format(record)
    assert "\n" not in text
    read: dict[str, object] = json.loads(text)
    return read


def test_the_trace_of_the_caller_goes_on() -> None:
    with a_call(GIVEN) as traceparent:
        assert traceparent == GIVEN


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "nonsense",
        GIVEN + "0",
        GIVEN.upper(),
        GIVEN.replace("0af765", "0_f765"),
        GIVEN.replace("b7ad6b7169203331", "0000000000000000"),
        GIVEN.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        "x" * 10_000,
    ],
)
def test_a_malformed_trace_is_not_passed_on_and_a_new_one_begins(malformed: str) -> None:
    with a_call(malformed) as begun, a_call(begun) as goes_on:
        assert goes_on == begun != malformed


def test_new_traces_have_different_ids() -> None:
    assert len({new_traceparent() for _ in range(1000)}) == 1000


def test_a_log_line_names_the_trace_of_the_call_that_it_belongs_to() -> None:
    for given in (GIVEN, ""):
        with a_call(given) as traceparent:
            assert line()["trace_id"] == traceparent.split("-")[1]
        assert "trace_id" not in line()


def test_a_log_line_says_who_speaks_and_is_one_line() -> None:
    record = line("two\nlines")
    assert (record["service"], record["replica"], record["level"], record["message"]) == (
        "todo",
        2,
        "INFO",
        "two\nlines",
    )
