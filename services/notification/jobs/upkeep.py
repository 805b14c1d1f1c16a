"""What makes users' own reminders due, and what removes old rows."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from mesh.database.pool import Database
from mesh.events import outbox
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.slices import in_slices
from services.notification import events
from services.notification.model import MOST_NOTIFICATIONS, Cause, Reminder
from services.notification.rules import deliveries
from services.notification.store import calendar, notifications, recipients, reminders, targets, tasks
from services.notification.store import deliveries as delivery_store

_TASK_DAYS = 40
"""Longer than a deleted task or event can be brought back."""


class ReminderFirer(PeriodicTask):
    """Makes deliveries of users' own and of snoozed reminders whose time has come; sleeps until the next one.

    Any number of replicas: each claims other users, by the database's clock.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    batch: ClassVar[int] = 500

    def __init__(self, db: Database, wake_senders: Callable[[], None], *, settle_seconds: float) -> None:
        super().__init__("fire reminders")
        self.db, self.wake_senders, self.settle_seconds = db, wake_senders, settle_seconds

    async def run_once(self) -> int:
        """Fires one batch; returns how many."""
        async with self.db.connection() as connection:
            user_ids = await reminders.list_due(connection, self.batch)
            if not user_ids:
                self.wake_in(await reminders.seconds_until_due(connection))
                return 0
            await recipients.add_recipients(connection, user_ids)
        async with self.db.transaction() as tx:
            now, known = await recipients.lock_free(tx, user_ids)
            due = await reminders.claim_due(tx, known, self.batch)
            live = [reminder for reminder in due if not known[reminder.user_id].is_deleted]
            make = partial(deliveries.made_of, known=known, now=now, settle_seconds=self.settle_seconds)
            await delivery_store.deliver(tx, await in_slices(map(_cause, live)), make)
            await reminders.mark_fired(tx, [reminder.id for reminder in due])
        if due:
            self.wake_senders()
        return len(due)


def _cause(reminder: Reminder) -> Cause:
    return deliveries.of_reminder(reminder, events.reminder_fired(reminder).hex())


class Purger(PeriodicTask):
    """Removes notifications and reminders after the retention, notifications of who has too many, tasks and
    events that are gone, and secrets that are void."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 60.0
    batch: ClassVar[int] = 500

    def __init__(self, db: Database, *, retention_days: int, most_of_user: int = MOST_NOTIFICATIONS) -> None:
        """most_of_user: notifications of one user that are kept, however old."""
        super().__init__("purge notifications")
        self.db, self.retention_days, self.most_of_user = db, retention_days, most_of_user

    async def run_once(self) -> int:
        """Removes one batch of each; returns how many rows."""
        async with self.db.connection() as connection:
            purged = await reminders.purge(connection, self.retention_days, self.batch)
            purged += await tasks.purge(connection, _TASK_DAYS, self.batch)
            purged += await calendar.purge(connection, _TASK_DAYS, self.batch)
            purged += await targets.forget_old_secrets(connection)
            user_ids = set(await notifications.list_purgeable(connection, self.retention_days, self.batch))
            user_ids.update(await notifications.list_crowded(connection, self.most_of_user, self.batch))
        for user_id in user_ids:
            purged += await self._purge(user_id)
        return purged

    async def _purge(self, user_id: str) -> int:
        async with self.db.transaction() as tx:
            inbox = await recipients.lock_recipient(tx, user_id)
            gone, unread = await notifications.purge(tx, user_id, self.retention_days, self.most_of_user, self.batch)
            if unread:
                left = inbox._replace(unread_count=inbox.unread_count - unread)
                await recipients.save_inboxes(tx, [left], outbox.SideEffects((), None, ""))
        return gone
