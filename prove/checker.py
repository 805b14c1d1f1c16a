"""The checker: what must hold between what was acknowledged, committed, published, recorded and shown. Pure.

Every function takes observations and returns the violations about them, one sentence each; none means that it holds.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple, TypeVar

UNAVAILABLE = "UNAVAILABLE"
SUCCESS = "OK"
CREATED = "task-created"
PHASE_CHANGED = "session-phase-changed"
REMINDER_FIRED, REMINDER_SHOWN = "reminder-fired", "notification-created"
IN_APP, EMAIL, WEBHOOK = "CHANNEL_IN_APP", "CHANNEL_EMAIL", "CHANNEL_WEBHOOK"
_MILLISECOND = timedelta(milliseconds=1)

_Item = TypeVar("_Item")
_Key = TypeVar("_Key", bound=Hashable)


class Attempt(NamedTuple):
    """One request and its response."""

    way: str
    """`rest` or `grpc`."""
    operation: str
    """`create`, `update`, `start`, `complete` or `list`."""
    user_id: str
    request_id: str
    """The same for every attempt at one write; empty for reads."""
    sent: float
    """Seconds of one steady clock, like `received`."""
    received: float
    code: str
    """Name of the gRPC status, also for REST; `OK` for success."""
    task_id: str = ""
    version: int = 0
    """Of the task after the write, when it succeeded."""

    @property
    def writes(self) -> bool:
        """Whether it was to change something."""
        return bool(self.request_id)


class Task(NamedTuple):
    """A task as the database has it in the end."""

    id: str
    user_id: str
    title: str
    """Of tasks made by a proof: the request_id of their create."""
    version: int


class Message(NamedTuple):
    """One message of a topic."""

    topic: str
    partition: int
    offset: int
    event_id: str
    type: str
    user_id: str
    task_id: str
    """Id of the subject."""
    version: int
    time: datetime
    """When it happened, as the event says."""
    published: datetime
    """When Kafka got it; truncated to milliseconds."""


class Record(NamedTuple):
    """One record of the audit log."""

    user_id: str
    position: int
    event_id: str
    type: str
    task_id: str


class Delivered(NamedTuple):
    """One change that a subscriber was sent."""

    subscriber: str
    user_id: str
    event_id: str
    task_id: str
    version: int


class Delivery(NamedTuple):
    """One delivery, as ListDeliveries shows it."""

    id: str
    user_id: str
    channel: str
    target_id: str
    state: str
    message_id: str
    reason: str
    late: timedelta | None
    """Between the instant that it is for and its sending; None while it is not sent."""

    @property
    def is_sent(self) -> bool:
        """Whether its channel has taken it."""
        return self.state == "DELIVERY_STATE_SENT"

    @property
    def is_failed(self) -> bool:
        """Whether the last attempt failed."""
        return self.state == "DELIVERY_STATE_FAILED"


def wrong_sends(
    deliveries: Iterable[Delivery], taken: Iterable[str], is_doomed: Callable[[Delivery], bool]
) -> list[str]:
    """Deliveries that were not taken exactly once, or that failed without a reason, and what was taken besides.

    taken: message ids, as receivers got them. is_doomed: whether the receiver refuses a delivery.
    """
    counts = _count(taken)
    violations = []
    for each in deliveries:
        times, what = counts.pop(each.message_id, 0), f"{each.channel} of user {each.user_id}"
        expected = 0 if is_doomed(each) else 1
        if times != expected:
            violations.append(f"{what}, message {each.message_id}, was taken {times} times instead of {expected}")
        if each.is_sent != (expected == 1):
            violations.append(f"{what} is {each.state} {each.reason}")
        if not each.is_sent and not each.reason:
            violations.append(f"{what} does not say why it failed")
    return violations + [f"message {message_id} was taken, and is no delivery's" for message_id in counts]


def wrong_ends(ends: Mapping[str, datetime], messages: Iterable[Message]) -> list[str]:
    """Sessions whose interval did not end exactly once, at its instant and not before it. ends: by session."""
    found = _group(
        (one for one in messages if one.type == PHASE_CHANGED and one.task_id in ends), lambda one: one.task_id
    )
    violations = []
    for session, end in ends.items():
        changes = {one.event_id: one for one in found.get(session, ())}.values()
        if len(changes) != 1:
            violations.append(f"the interval of session {session} ended {len(changes)} times")
        for one in changes:
            if one.time != end:
                violations.append(f"the interval of session {session} ended {one.time - end} from its instant")
            if one.published < end - _MILLISECOND:
                violations.append(f"the end of session {session} was published {end - one.published} early")
    return violations


def wrong_reminders(instants: Mapping[str, datetime], messages: Iterable[Message]) -> list[str]:
    """Users whose one reminder did not fire exactly once, or was not shown exactly once, or too early. By user."""
    found = _group(messages, lambda one: (one.user_id, one.type))
    violations = []
    for user_id, instant in instants.items():
        for kind in (REMINDER_FIRED, REMINDER_SHOWN):
            events = {one.event_id: one for one in reversed(found.get((user_id, kind), []))}.values()
            if len(events) != 1:
                violations.append(f"user {user_id} has {len(events)} events {kind}")
            for one in events:
                if one.time < instant or one.published < instant - _MILLISECOND:
                    violations.append(f"{kind} of user {user_id} came {instant - one.time} early")
    return violations


def wrong_ledger(expected: Iterable[tuple[str, str]], rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """Where the ledger is not one sent row for each expected user and channel. rows: user, channel, status."""
    rows = list(rows)
    unsent = [f"{channel} of user {user_id} is {status}" for user_id, channel, status in rows if status != "sent"]
    return unsent + wrong_counts("row of the ledger", expected, ((user_id, channel) for user_id, channel, _ in rows))


def wrong_counts(what: str, expected: Iterable[Hashable], found: Iterable[Hashable]) -> list[str]:
    """What is not there exactly once, or is there and not expected."""
    counts = _count(found)
    violations = [f"there are {times} of {what} {key}" for key in expected if (times := counts.pop(key, 0)) != 1]
    return violations + [f"nothing expects {what} {key}" for key in counts]


def unexpected_responses(attempts: Iterable[Attempt]) -> list[str]:
    """Responses that are neither success nor UNAVAILABLE."""
    return [
        f"{attempt.operation} by {attempt.way} ended with {attempt.code}"
        for attempt in attempts
        if attempt.code not in (SUCCESS, UNAVAILABLE)
    ]


def created_twice(attempts: Iterable[Attempt], tasks: Iterable[Task]) -> list[str]:
    """Creates that count more than once, whatever number of times they were tried."""
    violations = []
    stored = _group(tasks, lambda task: task.title)
    creates = _group((attempt for attempt in attempts if attempt.operation == "create"), lambda one: one.request_id)
    for request_id, tries in creates.items():
        named = {attempt.task_id for attempt in tries if attempt.code == SUCCESS}
        found = {task.id for task in stored.get(request_id, ())}
        if len(named | found) > 1:
            violations.append(f"create {request_id} made {len(named | found)} tasks in {len(tries)} attempts")
    return violations


def lost_writes(attempts: Iterable[Attempt], messages: Iterable[Message], records: Iterable[Record]) -> list[str]:
    """Acknowledged writes whose event is not in the audit log exactly once."""
    events = defaultdict(set)
    for message in messages:
        events[message.task_id, message.version].add(message.event_id)
    recorded = _count(record.event_id for record in records)
    violations = []
    for attempt in _acknowledged(attempts):
        found = events.get((attempt.task_id, attempt.version), set())
        times = sum(recorded.get(event_id, 0) for event_id in found)
        if times != 1:
            violations.append(
                f"{attempt.operation} of task {attempt.task_id}, version {attempt.version}, was acknowledged; it is"
                f" published as {len(found)} events and recorded {times} times"
            )
    return violations


def recorded_creates(records: Iterable[Record]) -> dict[str, int]:
    """How many records say that a task was created, by task."""
    return _count(record.task_id for record in records if record.type == CREATED)


def unpublished(tasks: Iterable[Task], messages: Iterable[Message], topics: Iterable[str]) -> list[str]:
    """Versions that committed and are missing from a topic."""
    versions = defaultdict(set)
    for message in messages:
        versions[message.topic, message.task_id].add(message.version)
    named = tuple(topics)
    return [
        f"task {task.id} is at version {task.version}; {topic} lacks {_some(missing)}"
        for task in tasks
        for topic in named
        if (missing := set(range(1, task.version + 1)) - versions[topic, task.id])
    ]


def disorder(messages: Iterable[Message]) -> list[str]:
    """Tasks whose versions do not rise one by one through a topic, once repeated deliveries are dropped."""
    violations = []
    for (topic, task_id), delivered in _group(messages, lambda one: (one.topic, one.task_id)).items():
        partitions = {message.partition for message in delivered}
        if len(partitions) > 1:
            violations.append(f"{topic}: task {task_id} is spread over partitions {sorted(partitions)}")
            continue
        first = {message.event_id: message for message in sorted(delivered, key=lambda one: -one.offset)}
        in_order = sorted(first.values(), key=lambda one: one.offset)
        violations += _not_rising(f"{topic}: task {task_id}", [message.version for message in in_order])
    return violations


def wrong_records(records: Iterable[Record], messages: Iterable[Message]) -> list[str]:
    """Where the audit log is not the list of published events: each once, in the order of versions, without gaps."""
    records = list(records)
    published = {message.event_id: message.version for message in messages}
    recorded = _count(record.event_id for record in records)
    violations = [f"event {event} is recorded {times} times" for event, times in recorded.items() if times > 1]
    violations += [f"event {event} is published and not recorded" for event in published.keys() - recorded.keys()]
    violations += [f"event {event} is recorded and not published" for event in recorded.keys() - published.keys()]
    for user_id, chain in _group(records, lambda record: record.user_id).items():
        chain.sort(key=lambda record: record.position)
        if [record.position for record in chain] != list(range(1, len(chain) + 1)):
            violations.append(f"the records of user {user_id} have gaps in their positions")
        for task_id, history in _group(chain, lambda record: record.task_id).items():
            versions = [published[record.event_id] for record in history if record.event_id in published]
            violations += _not_rising(f"audit log: task {task_id}", versions)
    return violations


def wrong_deliveries(
    subscribers: Mapping[str, str], shown: Iterable[Delivered], messages: Iterable[Message], topic: str
) -> list[str]:
    """What subscribers missed, saw twice, saw in the wrong order or saw of others.

    subscribers: name to user, each of whom listened before the first of the user's messages.
    """
    expected = _group((message for message in messages if message.topic == topic), lambda message: message.user_id)
    seen = _group(shown, lambda one: one.subscriber)
    violations = []
    for name, user_id in subscribers.items():
        received = seen.get(name, [])
        expected_ids = {message.event_id for message in expected.get(user_id, ())}
        counts = _count(one.event_id for one in received)
        violations += [f"{name} missed event {event}" for event in expected_ids - counts.keys()]
        violations += [f"{name} saw event {event}, which is not its user's" for event in counts.keys() - expected_ids]
        violations += [f"{name} saw event {event} {times} times" for event, times in counts.items() if times > 1]
        for task_id, changes in _group(received, lambda one: one.task_id).items():
            for earlier, later in pairwise(changes):
                if later.version < earlier.version:
                    violations.append(f"{name}: task {task_id} goes from version {earlier.version} to {later.version}")
    return violations


def _acknowledged(attempts: Iterable[Attempt]) -> Iterable[Attempt]:
    """Each acknowledged write once: a repeated one has the same response."""
    return {
        (attempt.request_id, attempt.task_id, attempt.version): attempt
        for attempt in attempts
        if attempt.writes and attempt.code == SUCCESS
    }.values()


def _not_rising(what: str, versions: list[int]) -> list[str]:
    expected = list(range(1, len(versions) + 1))
    if versions == expected:
        return []
    index = next(index for index, pair in enumerate(zip(versions, expected, strict=True)) if pair[0] != pair[1])
    return [f"{what} goes through versions … {versions[max(0, index - 1) : index + 3]} …"]


def _group(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    groups: dict[_Key, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _count(keys: Iterable[_Key]) -> dict[_Key, int]:
    counts: dict[_Key, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return counts


def _some(versions: set[int]) -> str:
    return ", ".join(map(str, sorted(versions)[:5]))
