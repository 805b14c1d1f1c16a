"""The verdict: which promises the history of a run keeps."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prove import checker
from prove.callers import CREATE
from prove.checker import SUCCESS, Attempt, Task
from prove.experiment import Run
from prove.faults import Outage
from prove.history import TASK_EVENTS, TASK_UPDATES, USER_EVENTS
from prove.nemesis import Nemesis
from prove.promises import Promise
from stack.infrastructure import kafka, postgres

FIRST_SUCCESS_SECONDS = 2.0
_LEAST_SHARE_OF_RATE = 0.9


def promises(run: Run, nemesis: Nemesis) -> Iterator[Promise]:
    """Every promise, in the order of the report."""
    yield _rate(run, nemesis.plan.rate)
    yield from _responses(run, nemesis)
    yield from _effects(run)
    yield _subscribers(run)
    yield from _restarts(run, nemesis)
    if nemesis.logout is not None:
        yield nemesis.logout


def _rate(run: Run, rate: float) -> Promise:
    sent = run.load.requests_per_second
    return Promise(
        "the load reached its rate",
        f"{sent:.0f} of {rate:.0f} requests/s for {run.load.ended - run.load.began:.0f} s,"
        f" {len(run.users)} users, {run.load.delayed} delayed",
        sent >= rate * _LEAST_SHARE_OF_RATE,
    )


def _responses(run: Run, nemesis: Nemesis) -> Iterator[Promise]:
    """What callers observed of the faults."""
    attempts = [
        one for one in run.load.attempts if not any(roll.began <= one.sent <= roll.ended for roll in nemesis.rollings)
    ]
    outages = nemesis.outages
    slowest = max(outages, key=lambda outage: outage.seconds)
    yield Promise.unless(
        [f"{name} does not work, though everything is back" for name in nemesis.unhealthy],
        "everything that was killed came back, and every service recovered from the outage",
        f"{len(outages)} faults, the slowest to come back {slowest.name} after {slowest.seconds:.1f} s",
    )
    counts = Counter(attempt.code for attempt in attempts)
    yield Promise.unless(
        checker.unexpected_responses(attempts),
        "no other response than success or UNAVAILABLE / 503, whatever is away",
        ", ".join(f"{count} {code}" for code, count in counts.most_common()),
    )
    for outage in outages:
        if outage.name == postgres.NAME:
            yield _first_success(attempts, outage)
        if outage.name == kafka.NAME:
            yield _writes_without_kafka(attempts, outage)


def _first_success(attempts: Iterable[Attempt], outage: Outage) -> Promise:
    received = [one.received for one in attempts if one.code == SUCCESS and one.received >= outage.ended]
    delay = min(received) - outage.ended if received else float("inf")
    return Promise(
        f"the first success comes at most {FIRST_SUCCESS_SECONDS:.0f} s after Postgres is back",
        f"{delay:.2f} s; Postgres was away for {outage.seconds:.1f} s",
        delay <= FIRST_SUCCESS_SECONDS,
    )


def _writes_without_kafka(attempts: Iterable[Attempt], outage: Outage) -> Promise:
    writes = [one for one in attempts if one.writes and outage.began <= one.sent and one.received <= outage.ended]
    refused = [one for one in writes if one.code != SUCCESS]
    return Promise(
        "acknowledged writes go on while Kafka is down",
        f"{len(writes) - len(refused)} in {outage.seconds:.1f} s, {len(refused)} refused",
        bool(writes) and not refused,
        [f"{one.operation} by {one.way}: {one.code}" for one in refused],
    )


def _effects(run: Run) -> Iterator[Promise]:
    """The effects of the writes."""
    yield _creates(run)
    yield _changes(run)
    yield _repeated_creates(run)
    yield from _events(run)
    yield Promise.unless(
        checker.wrong_records(run.history.records, run.history.of(TASK_EVENTS)),
        "the audit log has each event once, in the order of versions",
        f"{len(run.history.records)} records",
    )
    yield Promise.unless(
        [f"the chain of user {user.id} is not intact" for user in run.broken_chains],
        "the audit chain of every user verifies",
        f"{len(run.users) - len(run.broken_chains)} of {len(run.users)} users",
    )


def _creates(run: Run) -> Promise:
    records = checker.recorded_creates(run.history.records)
    found = {task: records.get(task, 0) for task in _created(run)}
    return Promise.unless(
        [f"task {task} has {number} records of its creation" for task, number in found.items() if number != 1],
        "every acknowledged create is in the audit log exactly once",
        f"{sum(number == 1 for number in found.values())} of {len(found)}",
    )


def _created(run: Run) -> set[str]:
    """Tasks whose creation was acknowledged."""
    return {one.task_id for one in run.load.attempts if one.operation == CREATE and one.code == SUCCESS}


def _changes(run: Run) -> Promise:
    attempts, history = run.load.attempts, run.history
    writes = {(one.task_id, one.version) for one in attempts if one.writes and one.code == SUCCESS}
    return Promise.unless(
        checker.lost_writes(attempts, history.of(TASK_EVENTS), history.records),
        "every other acknowledged change is in the audit log",
        f"{len(writes) - len(_created(run))} changes, {run.seconds_to_settle:.1f} s after the last request",
    )


def _repeated_creates(run: Run) -> Promise:
    tries = Counter(one.request_id for one in run.load.attempts if one.operation == CREATE)
    again = sum(number > 1 for number in tries.values())
    return Promise.unless(
        checker.created_twice(run.load.attempts, run.history.tasks),
        "a create that is retried counts once",
        f"{again} were retried, up to {max(tries.values(), default=0)} times",
    )


def _events(run: Run) -> Iterator[Promise]:
    history = run.history
    users = [Task(user.id, user.id, "", 1) for user in run.users]
    yield Promise.unless(
        checker.unpublished(history.tasks, history.messages, (TASK_EVENTS, TASK_UPDATES))
        + checker.unpublished(users, history.messages, (USER_EVENTS,)),
        "everything that committed is in every topic it belongs to",
        f"{sum(task.version for task in history.tasks)} changes of {len(history.tasks)} tasks, {len(users)} users",
    )
    repeated = len(history.messages) - len({(one.topic, one.event_id) for one in history.messages})
    yield Promise.unless(
        checker.disorder(history.messages),
        "versions of an aggregate rise by one in each topic",
        f"{len(history.messages)} messages, {repeated} of them delivered again",
    )
    yield Promise.unless(
        [f"{count} messages are in {topic}" for topic, count in history.dead_letters.items() if count],
        "no event became a dead letter",
        f"{sum(history.dead_letters.values())} messages in {len(history.dead_letters)} dead-letter topics",
    )


def _subscribers(run: Run) -> Promise:
    """A resync reports a loss honestly, and is still a loss: the run is shorter than the retention."""
    received = [one for subscriber in run.subscribers for one in subscriber.received]
    names = {subscriber.name: subscriber.user.id for subscriber in run.subscribers}
    connections = sum(subscriber.connections for subscriber in run.subscribers)
    resyncs = sum(subscriber.resyncs for subscriber in run.subscribers)
    violations = checker.wrong_deliveries(names, received, run.history.messages, TASK_UPDATES)
    if resyncs:
        violations.append(f"subscribers got {resyncs} resyncs")
    return Promise.unless(
        violations,
        "subscribers that resume from their cursor miss nothing and receive nothing twice",
        f"{len(received)} changes to {len(names)} subscribers in {connections} connections",
    )


def _restarts(run: Run, nemesis: Nemesis) -> Iterator[Promise]:
    for rolling in nemesis.rollings:
        during = [one for one in run.load.attempts if rolling.began <= one.sent <= rolling.ended]
        failed = [one for one in during if one.code != SUCCESS]
        yield Promise.unless(
            [
                f"{one.operation} by {one.way}, {one.sent - rolling.began:.2f} s after the beginning: {one.code}"
                for one in failed
            ],
            f"rolling restart of {', '.join(rolling.services)}: no failed call",
            f"{len(during) - len(failed)} of {len(during)} calls succeeded",
        )
