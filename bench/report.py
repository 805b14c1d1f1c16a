"""The results of a run: `report.md` for people, `latest.json` for scripts."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.cases import CEILING, DIRECT, FASTAPI, REST
from bench.delivery import Delivery
from bench.drain import Drain
from bench.nine_services import NineServices
from bench.pairs import Compared
from bench.startup import StartUp
from bench.throughput import Row

AT = 16
"""In flight, where targets are set."""
PACE = 300
"""Creates a second, where targets are set."""

NOTES = """\
How it was measured:

- Closed loop from one generator process on the same cores; the same generator for every gRPC row, a bare HTTP/1.1
  client for REST and FastAPI. All cases take turns in every round, in an order that turns; figures are medians over the
  rounds, with the least and the most in brackets. Throughput moves with the machine's load: compare ratios, CPU first.
  In a full run a measurement during which other programs took a tenth of the CPU is made again, at most twice; the
  least disturbed one counts, for every row alike.
- Audit and realtime are stopped during these rounds: neither the ceiling nor FastAPI has anybody who consumes its
  events. Delivery to them is measured below.
- CPU is user and system time of the serving process with all its threads, in milliseconds per successful request. For
  todo it includes the relay in the same process, counted until the outbox is empty. The rows through Envoy show todo's
  CPU too; Envoy's own and that of Postgres have their columns.
- Ratios, "to ceiling" (CPU per request, to the ceiling's of the same operation and as many in flight) and those of the
  targets, are medians of the rounds' ratios: the speed of a shared machine changes from round to round for all.
- ceiling: grpc.aio, uvloop, psycopg, a pool of eight autocommit connections with prepared statements; no token, no
  interceptor, no outbox. Rows become messages through UUID and datetime objects, timestamps set by arithmetic rather
  than by the slower FromDatetime.
- fastapi: uvicorn on uvloop and httptools, pydantic, psycopg; the token is verified (once, then cached), the body
  validated, the task and its outbox row commit in one transaction, each request has a span (a tenth recorded) and a
  duration by OpenTelemetry's instrumentation of FastAPI, without its spans for each part of a request. In its favour it
  has no idempotency, revocation, deadline or relay.
- todo: with everything on: token, policy, validation, idempotency (a fresh request_id for each create), outbox, relay
  and Kafka, metrics and traces to a collector (a tenth of the traces recorded). The gateway's rates are raised, nothing
  else.
- Lists: 50 of the 500 tasks of one user, among 100,000 tasks of 200 users."""


class Target(NamedTuple):
    """A promise, and what was measured."""

    name: str
    limit: str
    figure: str
    holds: bool


@dataclass(frozen=True)
class Findings:
    """Everything that was measured."""

    machine: dict[str, str]
    quick: bool
    rows: Sequence[Row]
    deliveries: Sequence[Delivery]
    drain: Drain
    start_up: StartUp
    nine_services: NineServices | None
    """None in a quick run."""
    compared: Sequence[Compared]
    """Focus sessions, recurring tasks, reminders and the calendar; empty in a quick run."""
    failures: Sequence[str]
    spans: int
    others: tuple[float, float]
    """Share of the machine's CPU that other programs used while rows were measured: median, most."""


def targets(found: Findings) -> list[Target]:
    """The promises about speed."""
    rows = {(row.case.variant, row.case.operation): row for row in found.rows if row.in_flight == AT}
    made = []
    for operation, most_cpu, least_throughput in (("create", 1.40, 0.70), ("list", 0.90, 1.0)):
        todo, bare, fastapi = (rows[variant, operation] for variant in (DIRECT, CEILING, FASTAPI))
        made += [
            _most(f"{operation}: CPU of direct gRPC to the ceiling's", todo.ratio_to_ceiling, most_cpu),
            _least(
                f"{operation}: throughput of direct gRPC to the ceiling's",
                todo.ratio(bare, "throughput"),
                least_throughput,
            ),
            _most(f"{operation}: CPU of direct gRPC to FastAPI's", todo.ratio(fastapi, "cpu_ms"), 0.75),
            _least(
                f"{operation}: throughput of REST through Envoy to direct gRPC's",
                rows[REST, operation].ratio(todo, "throughput"),
                0.70,
            ),
        ]
    paced = next(delivery for delivery in found.deliveries if delivery.per_second == PACE)
    made += [
        _most("commit to audit row, p50 in ms", paced.audit_p50_ms, 40),
        _most("commit to audit row, p99 in ms", paced.audit_p99_ms, 250),
        _most("commit to WebSocket frame, p50 in ms", paced.websocket_p50_ms, 40),
        _most("commit to WebSocket frame, p99 in ms", paced.websocket_p99_ms, 250),
        _least("relay drain, events a second", found.drain.per_second, 8000),
        _most("warm start in s", found.start_up.warm_seconds, 15),
        _most("all processes together in MiB", found.start_up.memory_mib, 1536),
        _most("stop in s", found.start_up.down_seconds, 8),
    ]
    if found.nine_services is not None:
        made += [
            _most("nine services: warm start in s", found.nine_services.warm_seconds, 15),
            _most("nine services: CPU of one until all serve, median in s", found.nine_services.cpu_median, 0.6),
            _most("nine services: all processes together in MiB", found.nine_services.memory_mib, 1536),
        ]
    made += [_most(f"{row.operation}: CPU to the bare handler's", row.ratio, row.limit) for row in found.compared]
    return made


def write(found: Findings, folder: Path) -> str:
    """Writes both files; returns the report."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(found)
    (folder / "report.md").write_text(text)
    (folder / "latest.json").write_text(json.dumps(as_json(found), indent=1) + "\n")
    return text


def as_json(found: Findings) -> dict[str, Any]:
    """The rows in the agreed shape; everything else beside them."""
    return {
        "rows": [
            {
                "name": row.case.name,
                "in_flight": row.in_flight,
                "throughput": round(row.middle.throughput, 1),
                "p50_ms": round(row.middle.p50_ms, 3),
                "p99_ms": round(row.middle.p99_ms, 3),
                "cpu_ms_per_request": round(row.middle.cpu_ms, 4),
                "ratio_to_ceiling": round(row.ratio_to_ceiling, 3),
            }
            for row in found.rows
        ],
        "targets": [target._asdict() for target in targets(found)],
        "machine": found.machine,
        "quick": found.quick,
        "delivery": [delivery._asdict() for delivery in found.deliveries],
        "drain": {**found.drain._asdict(), "per_second": found.drain.per_second},
        "start_up": found.start_up._asdict(),
        "nine_services": found.nine_services and found.nine_services._asdict(),
        "focus": [row._asdict() for row in found.compared],
        "spans": found.spans,
        "others": found.others,
        "failures": list(found.failures),
    }


def markdown(found: Findings) -> str:
    """The report."""
    kind = "quick run: few and short rounds, more noise" if found.quick else "full run"
    sections = [
        f"# Benchmark ({kind})",
        _table(("machine", ""), found.machine.items()),
        "## Targets",
        _table(
            ("target", "limit", "measured", "holds"),
            (
                (target.name, target.limit, target.figure, "yes" if target.holds else "**no**")
                for target in targets(found)
            ),
        ),
        f"Ratios are medians at {AT} in flight; delivery at {PACE} creates a second.",
        "## Requests",
        NOTES,
        f"Meanwhile other programs used {found.others[0]:.0%} of the machine's CPU (at most {found.others[1]:.0%}).",
        *(_operation(found, operation) for operation in ("create", "list")),
        "## Commit to effect",
        "Milliseconds from the task's create_time, read before the write; through the gateway, in an open loop.",
        _table(
            ("creates a second", "tasks", "achieved", "audit p50", "audit p99", "frame p50", "frame p99"),
            ([f"{value:.1f}" if isinstance(value, float) else value for value in row] for row in found.deliveries),
        ),
        f"Relay: {found.drain.events:,} waiting events in {found.drain.seconds:.2f} s, "
        f"{found.drain.per_second:,.0f} a second, {found.drain.messages:,} messages in two topics "
        "(consumers stopped; timed from the first message to the empty outbox).",
        f"Traces: {found.spans:,} spans reached the collector.",
        "## Processes",
        f"First start with an empty state folder {found.start_up.cold_seconds:.1f} s, later start "
        f"{found.start_up.warm_seconds:.1f} s, stop {found.start_up.down_seconds:.1f} s.",
        _table(
            ("process", "resident MiB", "proportional MiB"),
            (
                (memory.name, f"{memory.resident_mib:.0f}", f"{memory.proportional_mib:.0f}")
                for memory in found.start_up.memory
            ),
        ),
    ]
    if found.failures:
        sections += ["## Failures", "\n".join(f"- {failure}" for failure in found.failures)]
    return "\n\n".join(sections) + "\n"


def _operation(found: Findings, operation: str) -> str:
    rows = [row for row in found.rows if row.case.operation == operation]
    head = (
        "row",
        "in flight",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU ms",
        "to ceiling",
        "Envoy CPU ms",
        "Postgres CPU ms",
    )
    return _table(
        head,
        (
            (
                row.case.name,
                row.in_flight,
                f"{row.middle.throughput:.0f} ({row.least.throughput:.0f} to {row.most.throughput:.0f})",
                f"{row.middle.p50_ms:.2f}",
                f"{row.middle.p99_ms:.2f}",
                f"{row.middle.cpu_ms:.3f} ({row.least.cpu_ms:.3f} to {row.most.cpu_ms:.3f})",
                f"{row.ratio_to_ceiling:.2f}",
                f"{row.middle.gateway_cpu_ms:.3f}",
                f"{row.middle.postgres_cpu_ms:.3f}",
            )
            for row in sorted(rows, key=lambda row: row.in_flight)
        ),
    )


def _table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _most(name: str, figure: float, limit: float) -> Target:
    return Target(name, f"at most {limit:g}", _shown(figure), figure <= limit)


def _least(name: str, figure: float, limit: float) -> Target:
    return Target(name, f"at least {limit:g}", _shown(figure), figure >= limit)


def _shown(figure: float) -> str:
    return f"{figure:.2f}" if figure < 20 else f"{figure:,.0f}"
