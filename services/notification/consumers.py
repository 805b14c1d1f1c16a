"""What the notification service does with events of other services."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent, traced
from mesh.events.inbox import TopicSubscription
from mesh.rpc import idempotency
from mesh.runtime.clock import Clock
from mesh.runtime.slices import in_slices
from services.notification import wire
from services.notification.model import Cause, Channel, Kind, Recipient, TaskState
from services.notification.rules import deliveries
from services.notification.rules import reminders as rules
from services.notification.rules.refusals import refusal
from services.notification.store import calendar, erasure, recipients, reminders, states, tasks
from services.notification.store import deliveries as delivery_store

_BATCH = 2000
"""Rows of one statement: however many a user has, it ends long before the statement timeout."""
_UPDATES = ("task-completed", "task-deleted")


class Notifier:
    """Makes deliveries of what other services report; the periodic tasks send them."""

    def __init__(self, clock: Clock, wake: Callable[[], None], *, settle_seconds: float) -> None:
        """wake: called when there is something to send. settle_seconds: for which what comes late waits for more."""
        self._clock, self._wake, self._settle_seconds = clock, wake, settle_seconds

    def subscriptions(self) -> list[TopicSubscription]:
        """A reminder counts by itself, and its aggregate is the task: none of them is stale."""
        on_user = {
            "user-registered": self.on_user_changed,
            "user-updated": self.on_user_changed,
            "user-deleted": self.on_user_deleted,
            "mail-requested": self.on_mail_requested,
        }
        return [
            TopicSubscription("reminders", batch=self.on_reminders, drop_stale=False),
            TopicSubscription("task-events", batch=self.on_task_events),
            TopicSubscription("calendar-events", batch=self.on_calendar_events),
            TopicSubscription("user-events", on_user, drop_stale=False),
        ]

    async def on_reminders(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Makes deliveries of reminders that are due."""
        with traced(events):
            now, fired = self._clock(), [event for event in events if event.type == "reminder-fired"]
            known = await recipients.hold(tx, (event.user_id for event in fired))
            values = {event.id: event.value for event in fired if not known[event.user_id].is_deleted}
            stored = await in_slices(wire.reminder_from_event(event, now) for event in fired if event.id in values)
            new = await reminders.insert_fired(tx, stored)
            causes = [deliveries.of_reminder(each, values[each.id].hex()) for each in stored if each.id in new]
            await self._deliver(tx, causes, known)

    async def _deliver(self, tx: Connection, causes: Sequence[Cause], known: Mapping[str, Recipient]) -> None:
        """Stores the deliveries of causes, and wakes who sends them. known: their users, who are held."""
        make = partial(deliveries.made_of, known=known, now=self._clock(), settle_seconds=self._settle_seconds)
        await delivery_store.deliver(tx, causes, make)
        self._wake()

    async def on_task_events(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Notes the last state of tasks, withdraws what waits and is void by it, and notifies of updates."""
        with traced(events):
            read = await _concerning(tx, await in_slices((wire.task_from_event(event), event) for event in events))
            if not read:
                return
            known = await recipients.hold(tx, (event.user_id for _, event in read))
            live = [event for _, event in read if not known[event.user_id].is_deleted]
            newest = {task.id: task for task, event in read if not known[event.user_id].is_deleted}
            await tasks.put_tasks(tx, list(newest.values()))
            await self._follow(tx, newest)
            wanting = [event for event in live if event.type in _UPDATES and _wants_updates(known[event.user_id])]
            await self._deliver(tx, [_update(event) for event in wanting], known)

    async def on_calendar_events(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Notes the last state of events and occurrences, and withdraws what waits and is void by it.

        That an occurrence is over changes nothing: its reminders end with it.
        """
        with traced(events):
            known = await recipients.hold(tx, (event.user_id for event in events))
            telling = [event for event in events if event.type != "occurrence-ended"]
            live = [event for event in telling if not known[event.user_id].is_deleted]
            read = await in_slices(map(wire.event_from_event, live))
            newest = {event.id: event for event, _ in read}
            changed = {(each.event_id, each.slot): each for _, each in read if each is not None}
            if newest:
                await calendar.put_events(tx, list(newest.values()))
                await calendar.put_occurrences(tx, list(changed.values()))
                await self._follow(tx, {*newest, *await calendar.find_predecessors(tx, newest)})

    async def _follow(self, tx: Connection, ids: Collection[str]) -> None:
        """Cancels reminders of tasks or events that are void by now, and what waits of those that were sent.

        Those that come back with their task or event are pending again.
        """
        now = self._clock()
        there, waiting = await reminders.lock_of(tx, ids), await delivery_store.list_waiting(tx, ids)
        known = await states.find_states(tx, [*there, *waiting])
        followed = await in_slices(rules.follow(reminder, known.of(reminder), now=now) for reminder in there)
        if changed := [after for before, after in zip(there, followed, strict=True) if after is not before]:
            await reminders.save_locked(tx, changed)
        reasons = await in_slices(refusal(row.payload, known.of(row)) for row in waiting)
        withdrawn = [deliveries.removed(row, reason) for row, reason in zip(waiting, reasons, strict=True) if reason]
        if withdrawn:
            await delivery_store.save_decided(tx, withdrawn)
        await self._restore(tx, ids)

    async def _restore(self, tx: Connection, ids: Collection[str]) -> None:
        """Takes up what a state before the last made void: it was undone, or events of topics overtook each other."""
        withdrawn = await delivery_store.list_withdrawn(tx, ids)
        known, now = await states.find_states(tx, withdrawn), self._clock()
        reasons = await in_slices(refusal(row.payload, known.of(row)) for row in withdrawn)
        valid = [row for row, reason in zip(withdrawn, reasons, strict=True) if reason is None]
        if valid:
            await delivery_store.save_decided(tx, [deliveries.restored(row, now) for row in valid])
            await reminders.restore(tx, [row.reminder_id for row in valid if row.reminder_id])
            self._wake()

    async def on_user_changed(self, tx: Connection, event: ConsumedEvent) -> None:
        """Notes where a user is; what waits for quiet hours to end is decided again."""
        await recipients.put_zone(tx, event.user_id, str(event.data["payload"]["time_zone"]), event.time)
        await recipients.wake_deferred(tx, event.user_id)
        self._wake()

    async def on_mail_requested(self, tx: Connection, event: ConsumedEvent) -> None:
        """Makes the delivery of a mail for the account; address and token are asked for when it is sent."""
        mail_id, kind, expires_at = wire.mail_from_event(event)
        cause = Cause(
            source_id=mail_id,
            user_id=event.user_id,
            kind=Kind.ACCOUNT,
            scheduled_for=event.time,
            payload={"title": "", "event_type": kind},
            expires_at=expires_at,
        )
        known = await recipients.hold(tx, [event.user_id])
        if not known[event.user_id].is_deleted:
            await delivery_store.insert(tx, [deliveries.of_account(cause, Channel.EMAIL, now=self._clock())])
            self._wake()

    async def on_user_deleted(self, tx: Connection, event: ConsumedEvent) -> None:
        """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
        await recipients.mark_deleted(tx, event.user_id)
        for erase in (erasure.erase, idempotency.erase_responses):
            while await erase(tx, event.user_id, _BATCH):
                pass


async def _concerning(
    tx: Connection, read: Sequence[tuple[TaskState, ConsumedEvent]]
) -> list[tuple[TaskState, ConsumedEvent]]:
    """Without new tasks that void nothing: they have nothing to be reminded of, as if they were unknown."""
    new = {task.id for task, _ in read} - {task.id for task, event in read if not rules.is_new(task, event.type)}
    if new:
        new -= (await tasks.find_tasks(tx, new)).keys()
    return [(task, event) for task, event in read if task.id not in new]


def _wants_updates(recipient: Recipient) -> bool:
    return any(updates for _, updates in recipient.channels.values())


def _update(event: ConsumedEvent) -> Cause:
    return Cause(
        source_id=event.id,
        user_id=event.user_id,
        kind=Kind.UPDATE,
        scheduled_for=event.time,
        payload={"title": str(event.data["payload"]["title"])[:255], "event_type": event.type},
        task_id=event.subject,
        event=event.value.hex(),
    )
