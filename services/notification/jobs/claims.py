"""What every channel does with deliveries whose time has come: claim them, and decide each again."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import ClassVar, NamedTuple

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import PeriodicTask
from mesh.runtime.slices import in_slices
from services.notification import events
from services.notification.model import Channel, Notification, Outcome, Recipient
from services.notification.rules import deliveries
from services.notification.store import deliveries as store
from services.notification.store import recipients, reminders, states
from services.notification.store.deliveries import Group

_ROWS = 5000
"""Due rows that are looked at to find targets."""
_MOST_ROWS = 2000
"""Of one pass, unless one target has more."""
_PIECE = 100
"""Rows that are written by one statement, whose JSON is made in one piece."""


class Claimed(NamedTuple):
    """What a pass has claimed, of users that this transaction has locked."""

    now: int
    """By the database's clock."""
    users: Mapping[str, Recipient]
    ready: Sequence[Notification]
    """To be sent."""
    over: Sequence[Notification]
    """Not to be sent, or not now: suppressed, missed, failed or deferred."""


class ChannelTask(PeriodicTask):
    """Sends what is due of one channel. Any number of replicas: each claims other users."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)

    def __init__(
        self, db: Database, channel: Channel, *, grace_seconds: int, most_of_target: int, targets_of_user: int
    ) -> None:
        """grace_seconds: how late something may be sent. most_of_target: deliveries to one target in one pass."""
        super().__init__(f"send by {channel}")
        self.most_of_target, self.targets_of_user = most_of_target, targets_of_user
        self.db, self.channel, self.grace_seconds = db, channel, grace_seconds

    @abstractmethod
    async def settle(self, tx: Connection, claimed: Claimed) -> None:
        """Writes what becomes of what was claimed."""

    async def list_due(self, *, busy: Collection[str], groups: int) -> list[Group]:
        """To whom something is due; sets the time of the next pass when nobody is. busy: users to leave out."""
        async with self.db.connection() as connection:
            due = await store.list_due(
                connection, self.channel, busy=busy, groups=groups, rows=_ROWS, of_user=self.targets_of_user
            )
            if not due:
                self.wake_in(await store.seconds_until_due(connection, self.channel, busy=busy))
        before = accumulate((min(group.rows, self.most_of_target) for group in due), initial=0)
        return [group for group, rows in zip(due, before, strict=False) if rows < _MOST_ROWS]

    async def claim(self, groups: Sequence[Group]) -> int:
        """Claims what is due of those users that no other replica has locked, and settles it; returns how many rows."""
        async with self.db.transaction() as tx:
            now, users = await recipients.lock_free(tx, {group.user_id for group in groups})
            mine = [group for group in groups if group.user_id in users]
            rows = await store.claim(tx, self.channel, mine, self.most_of_target)
            known = await states.find_states(tx, rows)
            own = await reminders.find_states(tx, {row.reminder_id for row in rows if row.reminder_id})
            decided = await in_slices(
                deliveries.decide(
                    row,
                    users[row.user_id],
                    known.of(row),
                    own.get(row.reminder_id or ""),
                    now=now,
                    grace_seconds=self.grace_seconds,
                )
                for row in rows
            )
            pairs = list(zip(rows, deliveries.whole(rows, decided), strict=True))
            ready = [after for before, after in pairs if after is before]
            over = [after for before, after in pairs if after is not before]
            if rows:
                await self.settle(tx, Claimed(now, users, ready, over))
        if rows:
            outbox.wake()
        return len(rows)


async def save(tx: Connection, rows: Sequence[Notification]) -> None:
    """Writes what became of claimed deliveries, in pieces."""
    for first in range(0, len(rows), _PIECE):
        await store.save_decided(tx, rows[first : first + _PIECE])


async def report_failures(
    tx: Connection, now: int, users: Mapping[str, Recipient], rows: Sequence[Notification], count: int | None = None
) -> None:
    """Publishes what could not be delivered, an event for each of these locked users.

    count: of one user's, where `rows` are only the first of them.
    """
    failed: dict[str, list[Notification]] = {}
    for row in rows:
        if row.outcome in (Outcome.FAILED, Outcome.MISSED):
            failed.setdefault(row.user_id, []).append(row)
    if failed:
        changed = {
            user_id: users[user_id]._replace(inbox_version=users[user_id].inbox_version + 1) for user_id in failed
        }
        made = [
            events.delivery_failed(changed[user_id], some, count or len(some), now) for user_id, some in failed.items()
        ]
        await recipients.save_inboxes(tx, list(changed.values()), SideEffects(made, None, ""))
