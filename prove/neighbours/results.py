"""What is known after each attack, and which promises hold; pure, so that tests feed it with disturbances."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mesh.runtime.loop_lag import ALERT_SECONDS
from prove.promises import Promise

ALLOWED_MS = 100.0
QUIET_MS = 50.0
"""p99 without an attack on a machine that is quiet enough to judge plain durations."""
SETTLE_SECONDS = 30.0
_ALLOWED_BYTES = 64 << 20
_STANDSTILL_MS = 250
_PIECE_MS = ALERT_SECONDS * 1000


class Sample(NamedTuple):
    """One call of the other user."""

    service: str
    seconds: float
    queued: float
    """How long that thread of those that it passed waited for a processor which waited longest; seconds."""
    refusal: str
    """Name of the status; empty when it succeeded."""


class Piece(NamedTuple):
    """What a service said of its event loop, which was kept for too long."""

    service: str
    lag_ms: int
    cpu_ms: int
    message: str


@dataclass
class Result:
    """What the other user observed during one attack."""

    rpc: str
    samples: int
    p50_ms: float
    p99_ms: float
    longest_ms: float
    unqueued_p99_ms: float
    """The same without the time in which the threads that a call passed waited for a processor."""
    slowest: str
    """What the longest call called."""
    refused: dict[str, int]
    """Calls of the other user that failed, by status and service."""
    codes: dict[str, int]
    """What the hostile user got."""
    settle_seconds: float
    """How long after the attack all events had reached all consumers."""
    lags: list[Piece] = field(default_factory=list)
    """What services said of their event loops."""
    tries: list[float] = field(default_factory=list)
    """What was judged in each measurement; milliseconds."""

    def judged(self, *, quiet: bool) -> float:
        """What is held to the limit: p99 in milliseconds. quiet: whether the machine has nothing else to do."""
        return self.p99_ms if quiet else self.unqueued_p99_ms


def percentile(seconds: Sequence[float], percent: float) -> float:
    """The value that so many per cent do not exceed; 0 of none."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def result_of(
    name: str, samples: Sequence[Sample], codes: Mapping[str, int], settled: float, lags: Sequence[Piece]
) -> Result:
    """The result of one measurement. settled: seconds."""
    seconds = [sample.seconds for sample in samples]
    unqueued = [max(0.0, sample.seconds - sample.queued) for sample in samples]
    return Result(
        rpc=name,
        samples=len(samples),
        p50_ms=round(percentile(seconds, 50) * 1000, 1),
        p99_ms=round(percentile(seconds, 99) * 1000, 1),
        longest_ms=round(max(seconds) * 1000, 1),
        unqueued_p99_ms=round(percentile(unqueued, 99) * 1000, 1),
        slowest=max(samples, key=lambda sample: sample.seconds).service,
        refused=dict(Counter(f"{one.refusal} of {one.service}" for one in samples if one.refusal)),
        codes=dict(codes),
        settle_seconds=round(settled, 1),
        lags=list(lags),
    )


def promises(results: Sequence[Result], grown: Mapping[str, int], *, quiet: bool) -> Iterator[Promise]:
    """Every promise, in the order of the report. grown: bytes that each replica holds more than before."""
    yield _undisturbed(results, quiet=quiet)
    yield Promise.unless(
        [f"{result.rpc}: {result.refused}" for result in results if result.refused],
        "the other user is never refused",
        f"{sum(result.samples for result in results)} calls",
    )
    pieces = [(result.rpc, lag) for result in results for lag in result.lags if lag.cpu_ms > _PIECE_MS]
    yield Promise.unless(
        [f"{rpc}: {piece.service}, {piece.message}" for rpc, piece in pieces],
        "nothing keeps an event loop for more than 50 ms of CPU",
        f"{len(pieces)} pieces did",
    )
    slowest = max(results, key=lambda result: result.settle_seconds)
    yield Promise.unless(
        [f"{result.rpc}: still on their way" for result in results if result.settle_seconds >= SETTLE_SECONDS],
        f"events of the hostile user reach every consumer in {SETTLE_SECONDS:.0f} s",
        f"after {slowest.settle_seconds:.1f} s at the latest ({slowest.rpc})",
    )
    name, most = max(grown.items(), key=lambda each: each[1])
    yield Promise.unless(
        [f"{name} holds {held >> 20} MiB more" for name, held in grown.items() if held > _ALLOWED_BYTES],
        f"every service gives memory back, but for {_ALLOWED_BYTES >> 20} MiB",
        f"{most >> 20} MiB at most ({name})",
    )


def _undisturbed(results: Sequence[Result], *, quiet: bool) -> Promise:
    worst = max(results, key=lambda result: result.judged(quiet=quiet))
    calls = sum(sum(result.codes.values()) for result in results)
    busy = "" if quiet else ", without waiting for a processor, because the machine is busy with other things"
    return Promise.unless(
        [
            f"{result.rpc}: p99 {result.judged(quiet=quiet):.0f} ms, the slowest {result.slowest}"
            for result in results
            if result.judged(quiet=quiet) > ALLOWED_MS
        ],
        f"no neighbour is disturbed: p99 of the other user is at most {ALLOWED_MS:.0f} ms",
        f"{worst.judged(quiet=quiet):.0f} ms at worst ({worst.rpc}){busy}; {calls} hostile calls of {len(results)}"
        f" RPCs, at least {min(result.samples for result in results)} samples during each",
    )


def control(result: Result, *, quiet: bool) -> Promise:
    """Whether a standstill of 300 ms was seen by the other user, and by the service itself."""
    longest = max((lag.lag_ms for lag in result.lags), default=0)
    return Promise(
        "control: a service that stands still for 300 ms is seen",
        f"p99 of the other user {result.judged(quiet=quiet):.0f} ms; its own lag {longest} ms",
        result.judged(quiet=quiet) > ALLOWED_MS and longest >= _STANDSTILL_MS,
    )
