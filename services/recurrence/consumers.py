"""What the recurrence service does with events of other services."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent, traced
from mesh.events.inbox import TopicSubscription
from mesh.rpc import idempotency
from mesh.rpc.pagination import Key
from mesh.runtime.slices import in_slices
from services.recurrence import wire
from services.recurrence.model import OpenTask, Reminder, TaskState
from services.recurrence.rules import reminders
from services.recurrence.rules.ledger import Ledger, concerns
from services.recurrence.store import plans, schedules, tasks

_Row = TypeVar("_Row")

_BATCH = 5000
"""Rows of one statement: however many a user has, it ends long before the statement timeout."""
_PORTION = 200
"""Rows that are written at once: some milliseconds of the event loop."""
_MOVED_AT_ONCE = 500
"""Reminders that a change of zone reads by one statement."""


class Follower:
    """Follows tasks: their series, and when they remind."""

    def __init__(
        self, db: Database, fetch: Callable[[str], Awaitable[str | None]], changed: Callable[[], None]
    ) -> None:
        """fetch: the zone of a user of whom no event has arrived yet. changed: called after tasks were followed."""
        self._db, self._fetch, self._changed = db, fetch, changed

    def subscriptions(self) -> list[TopicSubscription]:
        """What the service consumes."""
        on_user = {
            "user-registered": self.on_user_changed,
            "user-updated": self.on_user_changed,
            "user-deleted": self.on_user_deleted,
        }
        return [
            TopicSubscription("task-events", batch=self.on_tasks, prepare=self.learn),
            TopicSubscription("user-events", on_user),
        ]

    async def learn(self, events: Sequence[ConsumedEvent]) -> None:
        """Reads where users are whose reminders count in their days, before the transaction."""
        wanted = {state.task.user_id for state in map(wire.state_from_event, events) if reminders.needs_zone(state)}
        if not wanted:
            return
        async with self._db.connection() as connection:
            unknown = await tasks.without_zone(connection, wanted)
        for user_id in sorted(unknown):
            zone = await self._fetch(user_id)
            if zone is not None:
                async with self._db.connection() as connection:
                    await tasks.learn_zone(connection, user_id, zone)

    async def on_tasks(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Follows a batch; plans of next instances and moved reminders commit with it."""
        with traced(events):
            read = await _concerning(tx, await in_slices((wire.state_from_event(event), event) for event in events))
            if not read:
                return
            zones = await tasks.lock_users(tx, {state.task.user_id for state, _ in read})
            shown = [(state, event) for state, event in read if state.task.user_id in zones]
            ledger = await _read(tx, [state for state, _ in shown], zones)
            before = (dict(ledger.tasks), {id_: dict(each) for id_, each in ledger.reminders.items()})
            known = dict(ledger.schedules)
            await in_slices(ledger.apply_all((state, event.type, event.id) for state, event in shown))
            await _write(tx, ledger, *before)
            for changed in _portions([each for each in ledger.schedules.values() if known.get(each.id) != each]):
                await schedules.put_schedules(tx, changed)
            closed = [
                each.id for each in ledger.schedules.values() if not each.is_active and known.get(each.id) != each
            ]
            waiting = await schedules.list_waiting(tx, closed) if closed else []
            await schedules.put_waiting(tx, dict.fromkeys(ledger.ended, False) | dict.fromkeys(waiting, True))
        self._changed()

    async def on_user_changed(self, tx: Connection, event: ConsumedEvent) -> None:
        """Notes where a user is; only reminders in days of the user move."""
        zone, user_id = event.data["payload"]["time_zone"], str(UUID(event.user_id))
        if not await tasks.set_zone(tx, user_id, zone):
            return
        after: Key | None = None
        while page := await tasks.list_in_user_days(tx, user_id, after, _MOVED_AT_ONCE):
            moved = await in_slices(reminders.moved(reminder, due, zone, event.time) for reminder, due in page)
            if differ := [new for new, (old, _) in zip(moved, page, strict=True) if new != old]:
                await tasks.put_reminders(tx, differ)
            after = [page[-1][0].task_id, page[-1][0].reminder]

    async def on_user_deleted(self, tx: Connection, event: ConsumedEvent) -> None:
        """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
        await tasks.mark_deleted(tx, event.user_id)
        for erase in (plans.erase, idempotency.erase_responses):
            while await erase(tx, event.user_id, _BATCH):
                pass


async def _concerning(
    tx: Connection, read: Sequence[tuple[TaskState, ConsumedEvent]]
) -> list[tuple[TaskState, ConsumedEvent]]:
    """Without the events of tasks that neither recur nor remind, and never did: of most tasks, by one statement."""
    plain = {state.task.id for state, _ in read} - {state.task.id for state, _ in read if concerns(state)}
    plain -= await tasks.find_followed(tx, plain)
    return [(state, event) for state, event in read if state.task.id not in plain]


async def _read(tx: Connection, states: Sequence[TaskState], zones: dict[str, str | None]) -> Ledger:
    """What is stored of the tasks of events and of their series, which are locked."""
    ids = {state.task.id for state in states}
    found = await tasks.list_tasks(tx, ids, ())
    series = {each.series_id for each in (*found, *(state.task for state in states)) if each.series_id is not None}
    if not series:
        return Ledger(found, await tasks.list_reminders(tx, ids), (), (), zones)
    locked = await schedules.lock_schedules(tx, series)
    current = await tasks.list_tasks(tx, ids, series)
    # While it waited for the locks, an edit may have given a task to another series.
    if others := {each.series_id for each in current if each.series_id is not None} - series:
        locked += await schedules.lock_schedules(tx, others)
    return Ledger(
        current,
        await tasks.list_reminders(tx, ids),
        locked,
        await schedules.list_counting(tx, ids),
        zones,
        await schedules.furthest(tx, series | others),
    )


async def _write(
    tx: Connection,
    ledger: Ledger,
    before: Mapping[str, OpenTask],
    reminders_before: Mapping[str, Mapping[str, Reminder]],
) -> None:
    """Writes what differs."""
    if gone := before.keys() - ledger.tasks.keys():
        await tasks.remove_tasks(tx, gone)
    for changed in _portions([task for task in ledger.tasks.values() if before.get(task.id) != task]):
        await tasks.put_tasks(tx, changed)
    stored = {(id_, name): each for id_, named in reminders_before.items() for name, each in named.items()}
    current = {(id_, name): each for id_, named in ledger.reminders.items() for name, each in named.items()}
    for left in _portions([each for key, each in stored.items() if key not in current and key[0] in ledger.tasks]):
        await tasks.remove_reminders(tx, left)
    for differ in _portions([each for key, each in current.items() if stored.get(key) != each]):
        await tasks.put_reminders(tx, differ)
    if logged := [*ledger.added.values(), *ledger.undone.values()]:
        await schedules.put_completions(tx, logged)
        await schedules.trim_completions(tx, {each.series_id for each in ledger.added.values()})
    await plans.add_plans(tx, ledger.plans)


def _portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    return (rows[first : first + _PORTION] for first in range(0, len(rows), _PORTION))
