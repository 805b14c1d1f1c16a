"""Which events the inbox admits, against the rule in two lines of Python."""

import random
from collections.abc import Sequence

import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent
from mesh.events.inbox import Inbox, TopicSubscription
from mesh.runtime.ids import new_id
from tests.support.databases import opened
from tests.support.realtime_replicas import an_event


@pytest.mark.parametrize("seed", range(10))
async def test_of_one_aggregate_a_smaller_epoch_and_version_is_stale_in_whatever_batches_they_come(
    todo_url: str, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 (not a secret)
    subjects = [new_id(), new_id()]
    events = [
        an_event(new_id(), subject=rng.choice(subjects), epoch=rng.randint(1, 3), version=rng.randint(1, 4))
        for _ in range(40)
    ]
    applied: list[ConsumedEvent] = []

    async def apply(_: Connection, batch: Sequence[ConsumedEvent]) -> None:
        applied.extend(batch)

    async with opened(todo_url, "todo") as database:
        inbox = Inbox(database, [TopicSubscription("task-updates", batch=apply)])
        for batch in _cut(rng, [*events, *rng.sample(events, 10)]):
            await inbox.apply(batch)
        assert await _newest(database, subjects) == {
            subject: max((event.epoch, event.version) for event in events if event.subject == subject)
            for subject in subjects
        }
    assert [event.id for event in applied] == [event.id for event in _not_stale(events)]


def _cut(rng: random.Random, events: Sequence[ConsumedEvent]) -> list[list[ConsumedEvent]]:
    """The events in batches of random length."""
    batches: list[list[ConsumedEvent]] = [[]]
    for event in events:
        batches[-1].append(event)
        if rng.random() < 0.3:
            batches.append([])
    return [batch for batch in batches if batch]


def _not_stale(events: Sequence[ConsumedEvent]) -> list[ConsumedEvent]:
    newest: dict[str, tuple[int, int]] = {}
    kept = []
    for event in events:
        version = (event.epoch, event.version)
        if version >= newest.get(event.subject, (0, 0)):
            newest[event.subject] = version
            kept.append(event)
    return kept


async def _newest(database: Database, subjects: Sequence[str]) -> dict[str, tuple[int, int]]:
    async with database.connection() as connection:
        rows = await connection.execute(
            "SELECT subject, epoch, version FROM aggregate_versions WHERE subject = ANY(%s)", (list(subjects),)
        )
        return {subject: (epoch, version) for subject, epoch, version in await rows.fetchall()}
