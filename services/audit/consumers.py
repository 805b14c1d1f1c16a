"""What the audit log records: every event of a task, as it came."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent, traced
from mesh.events.inbox import TopicSubscription
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.audit import rules, store
from services.audit.model import ChainHead, PendingRecord, Record


class Recorder:
    """Appends what happened to the chains of the users it happened to."""

    def __init__(self, clock: Clock) -> None:
        """clock: microseconds since the epoch."""
        self._clock = clock

    def subscriptions(self) -> list[TopicSubscription]:
        """Every event counts, also one that is older than another: nothing is dropped as stale."""
        return [TopicSubscription("task-events", batch=self.on_task_events, drop_stale=False)]

    async def on_task_events(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Records a batch: one statement finds and locks the ends of the chains, one appends."""
        entries: dict[str, list[PendingRecord]] = defaultdict(list)
        for event in events:
            entry = _entry(event)
            entries[entry.user_id].append(entry)
        with traced(events):
            heads = await store.lock_heads(tx, entries)
            # After the lock: records of one chain are in the order of their times, whoever appends them.
            now = self._clock()
            records: list[Record] = []
            ends: dict[str, ChainHead] = {}
            for user_id, happened in entries.items():
                chained = rules.append(heads[user_id], happened, now=now)
                ends[user_id] = ChainHead(chained[-1].chain_position, chained[-1].hash)
                records += chained
            await store.append_records(tx, records, ends)


def _entry(event: ConsumedEvent) -> PendingRecord:
    # Ids as Postgres gives them back: a record is sealed with what is read when it is verified.
    return PendingRecord(
        id=new_id(),
        user_id=str(UUID(event.user_id)),
        event_id=event.id,
        event_type=event.type,
        task_id=str(UUID(event.data["task_id"])),
        payload=dict(event.data),
        source_service=event.source,
    )
