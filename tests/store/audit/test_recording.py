"""The records that the consumer makes of events, whoever published them."""

import json

from mesh.database.pool import Database
from mesh.events.envelope import Message, envelope, read
from mesh.runtime.ids import new_id
from services.audit import store
from services.audit.consumers import Recorder
from services.audit.model import GENESIS
from services.audit.rules import ChainVerifier
from tests.support.task_events import a_task_event


async def test_ids_in_other_spellings_join_the_same_honest_chain(db: Database) -> None:
    user, task = new_id(), new_id()
    value = envelope(a_task_event(user, task_id=task), "")
    spelled = json.loads(value.decode().replace(user, user.upper()).replace(task, task.replace("-", "").upper()))
    events = [
        read(Message("task-events", 0, number, None, json.dumps(spelled | {"id": new_id()}).encode(), (), 0))
        for number in range(2)
    ]
    events.append(read(Message("task-events", 0, 2, None, value, (), 0)))
    async with db.transaction() as tx:
        await Recorder(lambda: 1).on_events(tx, events)
        verifier = ChainVerifier(GENESIS)
        records = list(verifier.follow(await store.list_chain(tx, user, after=0, limit=10)))
        verifier.finish(await store.get_head(tx, user))
    assert (verifier.checked, verifier.broken) == (3, None)
    assert {record.task_id for record in records} == {task}
