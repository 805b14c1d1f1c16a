"""Interleaved rounds of every case, and the medians over them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from bench.accounts import Account
from bench.cases import CEILING, Addresses, Case, all_cases
from bench.dataset import Dataset
from bench.load import Job, Outcome
from bench.processes import Generator, Neighbours, cpu_seconds
from harness.waiting import wait_until

_SETTLE_SECONDS = 300.0
_QUIET = 0.1
"""Of the machine's CPU."""


class Sample(NamedTuple):
    """One measurement of one case."""

    throughput: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Of the serving process, per request; for creates until its outbox is empty, so publishing is counted."""
    gateway_cpu_ms: float
    postgres_cpu_ms: float
    others: float
    """Share of the machine's CPU that programs used which are no part of this."""


class Row(NamedTuple):
    """Medians of one case at one number in flight."""

    case: Case
    in_flight: int
    samples: Sequence[Sample]
    """One of every round."""
    middle: Sample
    least: Sample
    most: Sample
    ratio_to_ceiling: float
    """Of CPU per request."""

    def ratio(self, other: "Row", figure: str) -> float:
        """The median of the rounds' ratios: within a round the machine is the same for all, from one to another not."""
        return _ratio(self.samples, other.samples, figure)


@dataclass(frozen=True)
class Round:
    """How much one round measures."""

    in_flight: tuple[int, ...]
    seconds: float
    warm_seconds: float
    tries: int = 1
    """A measurement that others disturbed is made again, so many times at most; the least disturbed one counts."""


class Bench:
    """The measured system, and the accounts of its requests."""

    def __init__(
        self,
        generator: Generator,
        dataset: Dataset,
        addresses: Addresses,
        pids: Callable[[], Mapping[str, int]],
        creator: Account,
        lister: Account,
    ) -> None:
        """pids: of stack, ceiling, fastapi, todo, gateway, postgres. lister: has many tasks; creator: makes them."""
        self._generator, self._dataset, self._addresses, self._pids = generator, dataset, addresses, pids
        self._accounts = {"create": creator, "list": lister}
        self._creator = creator
        self.samples: dict[tuple[Case, int], list[Sample]] = defaultdict(list)
        self.failures: list[str] = []
        self._created = 0

    def run(self, rounds: Sequence[Round], report: Callable[[str], None]) -> None:
        """Measures every case in every round, in an order that turns."""
        cases = all_cases()
        for number, plan in enumerate(rounds):
            report(f"round {number + 1} of {len(rounds)}")
            turned = cases[number % len(cases) :] + cases[: number % len(cases)]
            for in_flight in plan.in_flight:
                for case in turned:
                    self.samples[case, in_flight].append(self._least_disturbed(case, in_flight, plan))
            self._dataset.tidy()

    def rows(self) -> list[Row]:
        """The medians."""
        return [
            _row(case, in_flight, samples, self.samples[Case(CEILING, case.operation), in_flight])
            for (case, in_flight), samples in sorted(
                self.samples.items(), key=lambda item: (all_cases().index(item[0][0]), item[0][1])
            )
        ]

    def check(self) -> None:
        """Adds to `failures` when the database does not hold exactly the creates that succeeded."""
        found = self._dataset.tasks_of(self._creator.user_id)
        if found != self._created:
            self.failures.append(f"{self._created} creates succeeded, and {found} tasks are there")

    def others(self) -> tuple[float, float]:
        """Median and most of the machine's CPU that others used."""
        shares = [sample.others for samples in self.samples.values() for sample in samples]
        return median(shares), max(shares)

    def _least_disturbed(self, case: Case, in_flight: int, plan: Round) -> Sample:
        tried: list[Sample] = []
        while len(tried) < plan.tries and not any(sample.others <= _QUIET for sample in tried):
            tried.append(self._measure(case, in_flight, plan))
        return min(tried, key=lambda sample: sample.others)

    def _measure(self, case: Case, in_flight: int, plan: Round) -> Sample:
        account = self._accounts[case.operation]
        self._load(case, case.job(self._addresses, account, in_flight, plan.warm_seconds))
        self._drain_outbox()
        job = case.job(self._addresses, account, in_flight, plan.seconds)
        pids = self._pids()
        watched = (pids[case.server], pids["gateway"], pids["postgres"])
        before, neighbours = [cpu_seconds(pid) for pid in watched], Neighbours(pids["stack"])
        outcome = self._load(case, job)
        self._drain_outbox()
        used = [cpu_seconds(pid) - start for pid, start in zip(watched, before, strict=True)]
        serving, gateway, postgres = (seconds * 1000 / max(1, outcome.succeeded) for seconds in used)
        rate = outcome.succeeded / outcome.seconds
        return Sample(rate, outcome.p50_ms, outcome.p99_ms, serving, gateway, postgres, neighbours.share())

    def _load(self, case: Case, job: Job) -> Outcome:
        outcome = self._generator.run(job)
        if outcome.failed:
            self.failures.append(f"{case.name} at {job.in_flight}: {outcome.failed} failed: {outcome.failures}")
            print(self.failures[-1], flush=True)
        if case.operation == "create":
            self._created += outcome.succeeded
        return outcome

    def _drain_outbox(self) -> None:
        wait_until(self._dataset.outbox_empty, "the outbox is empty", _SETTLE_SECONDS, advice="`make logs S=todo-0`")


def _row(case: Case, in_flight: int, samples: Sequence[Sample], ceiling: Sequence[Sample]) -> Row:
    columns = list(zip(*samples, strict=True))
    return Row(
        case,
        in_flight,
        samples,
        Sample(*map(median, columns)),
        Sample(*map(min, columns)),
        Sample(*map(max, columns)),
        _ratio(samples, ceiling, "cpu_ms"),
    )


def _ratio(samples: Sequence[Sample], others: Sequence[Sample], figure: str) -> float:
    pairs = ((getattr(sample, figure), getattr(other, figure)) for sample, other in zip(samples, others, strict=True))
    return median(one / other if other else float("nan") for one, other in pairs)
