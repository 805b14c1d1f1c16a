"""The channel `in_app`: the list of the app, and a frame of the realtime stream."""

from typing import ClassVar

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.runtime.slices import in_slices
from services.notification import events
from services.notification.jobs.claims import ChannelTask, Claimed, save
from services.notification.model import Channel, Notification, Outcome
from services.notification.rules import deliveries
from services.notification.store import recipients

_MOST_OF_USER = 2000
"""Notifications of one event."""


class InAppTask(ChannelTask):
    """Shows what is due in the app: to each user in one event, with what is unread."""

    groups: ClassVar[int] = 200

    def __init__(self, db: Database, *, grace_seconds: int) -> None:
        super().__init__(
            db, Channel.IN_APP, grace_seconds=grace_seconds, most_of_target=_MOST_OF_USER, targets_of_user=1
        )

    async def run_once(self) -> int:
        """Shows what is due to one batch of users; returns how many notifications."""
        due = await self.list_due(busy=(), groups=self.groups)
        return await self.claim(due) if due else 0

    async def settle(self, tx: Connection, claimed: Claimed) -> None:
        """Shows what is ready, and what was missed."""
        missed = [row for row in claimed.over if row.outcome == Outcome.MISSED]
        shown = await in_slices(deliveries.shown(row, claimed.now) for row in [*claimed.ready, *missed])
        await save(tx, [*shown, *(row for row in claimed.over if row.outcome != Outcome.MISSED)])
        by_user: dict[str, list[Notification]] = {}
        for row in sorted(shown, key=lambda row: (row.scheduled_for, row.id)):
            by_user.setdefault(row.user_id, []).append(row)
        if not by_user:
            return
        inboxes = {
            user_id: claimed.users[user_id]._replace(
                unread_count=claimed.users[user_id].unread_count + len(rows),
                inbox_version=claimed.users[user_id].inbox_version + 1,
            )
            for user_id, rows in by_user.items()
        }
        made = await in_slices(
            events.notification_created(inboxes[user_id], rows, claimed.now) for user_id, rows in by_user.items()
        )
        await recipients.save_inboxes(tx, list(inboxes.values()), SideEffects(made, None, ""))
