"""Records in the audit log, appended as the consumer appends them."""

from collections.abc import Awaitable, Callable, Sequence

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.audit import rules, store
from services.audit.model import ChainHead, PendingRecord, Record

Recorder = Callable[..., Awaitable[list[Record]]]


def an_entry(
    user_id: str, *, event_type: str = "task-created", task_id: str = "", source: str = "todo", **payload: object
) -> PendingRecord:
    return PendingRecord(new_id(), user_id, new_id(), event_type, task_id or new_id(), {"payload": payload}, source)


async def record_all(db: Database, entries: Sequence[PendingRecord], *, now: int = 1) -> list[Record]:
    """Appends entries of one user as the consumer does, in one transaction."""
    user_id = entries[0].user_id
    async with db.transaction() as tx:
        heads = await store.lock_heads(tx, [user_id])
        records = list(rules.append(heads[user_id], entries, now=now))
        await store.append_records(tx, records, {user_id: ChainHead(records[-1].chain_position, records[-1].hash)})
    return records
