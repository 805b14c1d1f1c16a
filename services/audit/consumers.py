"""The consumer of the audit log: records every event of a task, a session or a calendar, unchanged."""

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent, traced
from mesh.events.inbox import TopicSubscription
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from services.audit import rules, store
from services.audit.model import ChainHead, PendingRecord


class Recorder:
    """Appends events to the chains of the users that they belong to."""

    topics: ClassVar[tuple[str, ...]] = ("task-events", "session-events", "history-events", "calendar-events")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def subscriptions(self) -> list[TopicSubscription]:
        """Every event is recorded: an older one is not dropped as stale."""
        return [TopicSubscription(topic, batch=self.on_events, drop_stale=False) for topic in self.topics]

    async def on_events(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Records a batch: one statement reads and locks the heads of the chains, one appends."""
        with traced(events):
            pending: dict[str, list[PendingRecord]] = defaultdict(list)
            for one in await in_slices(map(_pending, events)):
                pending[one.user_id].append(one)
            heads = await store.lock_heads(tx, pending)
            # After the lock, so that the records of a chain are in the order of their times across replicas.
            now = self._clock()
            records = await in_slices(
                record for user_id in pending for record in rules.append(heads[user_id], pending[user_id], now=now)
            )
            ends = {record.user_id: ChainHead(record.chain_position, record.hash) for record in records}
            await store.append_records(tx, records, ends)


def _pending(event: ConsumedEvent) -> PendingRecord:
    # IDs in the spelling of Postgres, because the hash is verified with the stored values.
    return PendingRecord(
        id=new_id(),
        user_id=str(UUID(event.user_id)),
        event_id=event.id,
        event_type=event.type,
        task_id=str(UUID(event.subject)),
        payload=dict(event.data),
        source_service=event.source,
    )
