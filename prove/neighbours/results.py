"""What is known after each attack, and which promises hold; pure, so that tests feed it with disturbances."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mesh.runtime.loop_lag import ALERT_SECONDS
from prove.promises import Promise

ALLOWED_MS = 100.0
QUIET_MS = 50.0
"""p99 without an attack, at most: a machine that does other work says nothing about neighbours."""
SETTLE_SECONDS = 30.0
_ALLOWED_BYTES = 64 << 20
_STANDSTILL_MS = 250
_PIECE_MS = ALERT_SECONDS * 1000
GRPC, REST = "gRPC", "REST"


class Sample(NamedTuple):
    """One call of the other user."""

    service: str
    seconds: float
    refusal: str
    """Name of the status; empty when it succeeded."""
    settling: bool = False
    """Whether it was made after the attack, while events were on their way."""


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
    services_ms: dict[str, float]
    """p99 of each service during the attack: a service that stands still alone is 1 % of all calls."""
    settling_ms: dict[str, float]
    """The same after it, until its events had arrived."""
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
    ways: tuple[str, ...] = ()
    """By which the hostile user called."""
    repeatable: bool = False
    """Whether what is accepted by one of the ways is accepted by another one too."""

    @property
    def slowest(self) -> tuple[str, float]:
        """What is held to the limit: the service with the highest p99, during the attack or after it; milliseconds."""
        return max([*self.services_ms.items(), *self.settling_ms.items()], key=lambda each: each[1])

    @property
    def judged_ms(self) -> float:
        """The p99 of that service."""
        return self.slowest[1]

    def unaccepted(self) -> list[str]:
        """The ways by which the hostile user was never served; none when one of them has used up what can be done once.

        Such an attack shows nothing: it ends in the gateway, or in the first lines of the handler.
        """
        served = {way for code in self.codes if (way := _served_by(code))}
        return [way for way in self.ways if way not in served] if self.repeatable or not served else []


def percentile(seconds: Sequence[float], percent: float) -> float:
    """The value that so many per cent do not exceed; 0 of none."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def result_of(
    name: str, samples: Sequence[Sample], codes: Mapping[str, int], settled: float, lags: Sequence[Piece]
) -> Result:
    """The result of one measurement. settled: seconds."""
    seconds = [sample.seconds for sample in samples]
    return Result(
        rpc=name,
        samples=len(samples),
        p50_ms=round(percentile(seconds, 50) * 1000, 1),
        p99_ms=round(percentile(seconds, 99) * 1000, 1),
        longest_ms=round(max(seconds) * 1000, 1),
        services_ms=_services([sample for sample in samples if not sample.settling]),
        settling_ms=_services([sample for sample in samples if sample.settling]),
        refused=dict(Counter(f"{one.refusal} of {one.service}" for one in samples if one.refusal)),
        codes=dict(codes),
        settle_seconds=round(settled, 1),
        lags=list(lags),
    )


def _served_by(code: str) -> str:
    """The way by which a call with this status was served; empty when it was not."""
    return GRPC if code == "OK" else REST if code.startswith("2") else ""


def _services(samples: Sequence[Sample]) -> dict[str, float]:
    """p99 of each service in milliseconds."""
    return {
        service: round(percentile([one.seconds for one in samples if one.service == service], 99) * 1000, 1)
        for service in sorted({sample.service for sample in samples})
    }


def together(tries: Sequence[Result]) -> Result:
    """The result of an attack that was measured again: durations of the median try, what went wrong in any of them."""
    middle = sorted(tries, key=lambda one: one.judged_ms)[len(tries) // 2]
    return replace(
        middle,
        refused=dict(sum((Counter(one.refused) for one in tries), Counter[str]())),
        codes=dict(sum((Counter(one.codes) for one in tries), Counter[str]())),
        settle_seconds=max(one.settle_seconds for one in tries),
        lags=[lag for one in tries for lag in one.lags],
        tries=[one.judged_ms for one in tries],
    )


def promises(results: Sequence[Result], grown: Mapping[str, int], calm: Result) -> Iterator[Promise]:
    """Every promise, in the order of the report. grown: bytes that each replica holds more than before.

    calm: without an attack.
    """
    yield _undisturbed(results, calm)
    sent = sum(sum(result.codes.values()) for result in results)
    served = sum(number for result in results for code, number in result.codes.items() if _served_by(code))
    yield Promise.unless(
        [
            f"{result.rpc} by {' and '.join(missing)}: {result.codes}"
            for result in results
            if (missing := result.unaccepted())
        ],
        "the hostile user is served, so that its requests cost something",
        f"{served} of {sent} calls",
    )
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


def _undisturbed(results: Sequence[Result], calm: Result) -> Promise:
    worst = max(results, key=lambda result: result.judged_ms)
    calls = sum(sum(result.codes.values()) for result in results)
    complaints = [
        f"{result.rpc}: p99 of {result.slowest[0]} {result.judged_ms:.0f} ms; tries {result.tries}"
        for result in results
        if result.judged_ms > ALLOWED_MS
    ]
    if calm.p99_ms > QUIET_MS:
        complaints = [f"not judged, the machine does other work: p99 without an attack is {calm.p99_ms:.0f} ms"]
    return Promise.unless(
        complaints,
        f"no neighbour is disturbed: p99 of the other user is at most {ALLOWED_MS:.0f} ms",
        f"{worst.judged_ms:.0f} ms at worst ({worst.slowest[0]} during {worst.rpc}); {calls} hostile calls of"
        f" {len(results)} RPCs, at least {min(result.samples for result in results)} samples during each",
    )


def control(result: Result) -> Promise:
    """Whether one standstill of 300 ms was seen by the other user, and by the service itself."""
    longest = max((lag.lag_ms for lag in result.lags), default=0)
    return Promise(
        "control: a service that stands still for 300 ms, once, is seen",
        f"p99 of {result.slowest[0]} {result.judged_ms:.0f} ms; its own lag {longest} ms",
        result.judged_ms > ALLOWED_MS and longest >= _STANDSTILL_MS,
    )
