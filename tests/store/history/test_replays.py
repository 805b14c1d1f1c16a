"""What history publishes of the sessions of pomodoro, again when their topic is replayed into an empty schema."""

from collections.abc import Sequence
from typing import Any

import orjson

from mesh.database.pool import Database
from mesh.events.inbox import Inbox
from mesh.runtime import clock
from mesh.runtime.clock import DAY
from mesh.runtime.ids import new_id
from services.history.consumers import Recorder
from services.history.model import Person
from services.history.store.people import NOWHERE
from tests.support.focus_events import Timer, consumed


async def fetch(user_id: str) -> Person:
    return Person(user_id, NOWHERE, "monday", False)


async def published(db: Database, timer: Timer, batches: Sequence[int]) -> list[dict[str, Any]]:
    """What is in the outbox once a session's events came in batches of so many; of traces, which are new, nothing."""
    inbox, events = Inbox(db, Recorder(db, fetch).subscriptions()), consumed(timer.events)
    for size in batches:
        await inbox.apply(events[:size])
        del events[:size]
    assert not events
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox ORDER BY seq")
        return [orjson.loads(value) | {"traceparent": None} for (value,) in await cursor.fetchall()]


async def test_a_replay_publishes_again_with_the_same_ids_what_pomodoro_did_to_a_session_of_the_archive(
    databases: list[Database],
) -> None:
    timer = Timer(new_id(), clock.now() - DAY).after(60).finish()
    finished = len(timer.events)
    for _ in range(2):
        timer.after(60).delete().after(60).undelete()
    first, again = [
        await published(db, timer, [finished, *acts])
        for db, acts in zip(databases, ([1, 1, 1, 1], [1, 3]), strict=True)
    ]
    assert [event["type"] for event in first] == [
        "archived-session-deleted",
        "archived-session-updated",
    ] * 2
    assert again == [first[0], first[-1]]
