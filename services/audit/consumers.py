"""What the audit log records: every event of a task, as it came."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from mesh.clock import Clock
from mesh.connection import Connection
from mesh.envelope import ConsumedEvent, traced
from mesh.ids import new_id
from mesh.inbox import Subscription
from services.audit import rules, store
from services.audit.model import Entry, Link, Record


class Recorder:
    """Appends what happened to the chains of the users it happened to."""

    def __init__(self, clock: Clock) -> None:
        """clock: microseconds since the epoch."""
        self._clock = clock

    def subscriptions(self) -> list[Subscription]:
        """Every event counts, also one that is older than another: nothing is dropped as stale."""
        return [Subscription("task-events", batch=self.on_task_events, drop_stale=False)]

    async def on_task_events(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Records a batch: one statement finds and locks the ends of the chains, one appends."""
        entries: dict[str, list[Entry]] = defaultdict(list)
        for event in events:
            entry = _entry(event)
            entries[entry.user_id].append(entry)
        with traced(events):
            heads = await store.lock_heads(tx, entries)
            # After the lock: records of one chain are in the order of their times, whoever appends them.
            now = self._clock()
            records: list[Record] = []
            ends: dict[str, Link] = {}
            for user_id, happened in entries.items():
                chained = rules.append(heads[user_id], happened, now=now)
                ends[user_id] = Link(chained[-1].chain_position, chained[-1].hash)
                records += chained
            await store.append_records(tx, records, ends)


def _entry(event: ConsumedEvent) -> Entry:
    # Ids as Postgres gives them back: a record is sealed with what is read when it is verified.
    return Entry(
        id=new_id(),
        user_id=str(UUID(event.user_id)),
        event_id=event.id,
        event_type=event.type,
        task_id=str(UUID(event.data["task_id"])),
        payload=dict(event.data),
        source_service=event.source,
    )
