"""What sends through the channels that leave the service: each message under a lease, with a row for each attempt."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from functools import partial
from itertools import count, groupby

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.outgoing.errors import OutgoingFailure, TargetGone, TemporaryFailure
from mesh.rpc.status import CalleeError
from mesh.runtime.clock import SECOND, Clock
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.lifecycle import backoff
from mesh.runtime.slices import in_slices
from services.notification import events
from services.notification.clients import Sender
from services.notification.clients.auth import Contacts
from services.notification.jobs.claims import ChannelTask, Claimed, report_failures, save
from services.notification.jobs.messages import Messages, NotToBeSent
from services.notification.jobs.places import Places
from services.notification.jobs.turns import Turns
from services.notification.model import Channel, Notification, Outcome, Recipient
from services.notification.rules import deliveries
from services.notification.store import deliveries as store
from services.notification.store import recipients
from services.notification.store.deliveries import Group

log = logging.getLogger(__name__)

CAPACITY: Mapping[Channel, int] = {Channel.EMAIL: 16, Channel.WEBPUSH: 64, Channel.SMS: 8, Channel.WEBHOOK: 64}
"""Messages of a channel that one replica sends at once: one that hangs takes one place, of its own channel."""
_MOST_OF_WEBHOOK = 2
"""Messages to one webhook at once."""
_MOST_TARGETS = 4
"""Targets of one user at once: the rest of the places is for others."""
_OF_USERS = frozenset({Channel.WEBPUSH, Channel.WEBHOOK})
"""Channels whose targets users give."""
_LEARNERS = 4
"""Users whose zone auth is asked for at once."""
_AWAY_SECONDS, _TURN_SECONDS = 2.0, 0.2
"""Until auth is asked again for the same user, and until a user's turn to be asked for may have come."""
_CLOSE_SECONDS = 3.0


class SendingTask(ChannelTask):
    """Sends what is due of one channel.

    A message whose process ends before it has noted the result is sent again after the lease, with the same id: at
    least once here, once by what the id tells the receiver.
    """

    def __init__(
        self,
        db: Database,
        channel: Channel,
        sender: Sender | None,
        messages: Messages,
        contacts: Contacts,
        clock: Clock,
        turns: Turns,
        *,
        grace_seconds: int,
        lease_seconds: int,
    ) -> None:
        """sender: None where the installation does not have the channel. turns: those of all channels."""
        most = _MOST_OF_WEBHOOK if channel == Channel.WEBHOOK else deliveries.MOST_COMBINED
        super().__init__(db, channel, grace_seconds=grace_seconds, most_of_target=most, targets_of_user=_MOST_TARGETS)
        self.sender, self.messages, self.contacts, self.clock = sender, messages, contacts, clock
        self.turns = turns
        self.lease_seconds, self.places = lease_seconds, Places(CAPACITY[channel])
        self.of_target = _MOST_OF_WEBHOOK if channel == Channel.WEBHOOK else 1
        """Places that a target takes."""
        self._begin: list[tuple[list[Notification], Recipient]] = []
        """What this pass has leased."""
        self._learning: dict[asyncio.Task[None], str] = {}
        """Whose zone auth is asked for."""

    async def run_once(self) -> int:
        """Begins to send what is due, as far as there is room; returns how many deliveries that are."""
        places = self.places
        if places.room <= 0:
            return 0  # a message that ends wakes this task
        busy = places.busy.union(self._learning.values())
        due = await self._list(places.room, busy=busy | places.suspects)
        left = min(places.room - len(due) * self.of_target, places.room_of_suspects)
        if left > 0 and places.suspects:
            due += await self._list(left, busy=busy.union(group.user_id for group in due))
        ready = [group for group in due if group.knows_zone or self.channel == Channel.WEBHOOK]
        self._learn_zones({group.user_id for group in due} - {group.user_id for group in ready})
        return (await self.claim(ready) if ready else 0) or len(due) - len(ready)

    async def _list(self, room: int, *, busy: set[str]) -> list[Group]:
        return await self.list_due(busy=busy, groups=max(1, room // self.of_target))

    async def settle(self, tx: Connection, claimed: Claimed) -> None:
        """Leases what is ready, message by message, and begins to send it once that has committed."""
        key = lambda row: (row.user_id, row.target_id or "")  # noqa: E731 (used twice)
        leases: list[list[Notification]] = []
        until = claimed.now + self.lease_seconds * SECOND
        for _, rows in groupby(sorted(claimed.ready, key=key), key=key):
            messages = deliveries.messages(rows)
            leases += await in_slices(deliveries.leased(message, until=until) for message in messages)
        await save(tx, [*claimed.over, *(row for message in leases for row in message)])
        await report_failures(tx, claimed.now, claimed.users, claimed.over)
        self._begin = [(message, claimed.users[message[0].user_id]) for message in leases]

    async def claim(self, groups: Sequence[Group]) -> int:
        """The same as of every channel; then begins to send."""
        self._begin = []
        claimed = await super().claim(groups)
        for message, recipient in self._begin:
            task = asyncio.create_task(self._attempt(message, recipient), name=f"send by {self.channel}")
            self.places.take(task, recipient.user_id)
            task.add_done_callback(self._ended)
        return claimed

    async def close(self, grace: float = _CLOSE_SECONDS) -> None:
        """Lets messages that are being sent end, for at most `grace` seconds; others are sent after their lease."""
        await super().close(grace)
        for learner in self._learning:
            learner.cancel()
        running = self.places.tasks
        if running:
            await asyncio.wait(running, timeout=grace)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *self._learning, return_exceptions=True)
        if self.sender is not None:
            await self.sender.close()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.places.free(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s: the result of a message was not noted", self.name, exc_info=error)
        self.wake()

    def _learn_zones(self, user_ids: Set[str]) -> None:
        """Begins to ask auth where some of these users are; what is due to them waits, and nobody else."""
        room = _LEARNERS - len(self._learning)
        for user_id in sorted(user_ids)[:room]:
            task = asyncio.create_task(self._learn_zone(user_id), name="learn a zone")
            self._learning[task] = user_id
            task.add_done_callback(self._learnt)
        for user_id in sorted(user_ids)[room:]:
            self.places.leave_out(user_id, _TURN_SECONDS)

    async def _learn_zone(self, user_id: str) -> None:
        try:
            contact = await self.contacts.contact(user_id)
        except DependencyUnavailable:
            self.places.leave_out(user_id, _AWAY_SECONDS)
            return
        except CalleeError as error:
            log.warning("%s: auth refuses to tell where a user is: %s", self.name, error.reason)
            self.places.leave_out(user_id, _AWAY_SECONDS)
            return
        async with self.turns.of(user_id), self.db.connection() as connection:
            # As of the beginning of time: whatever an event says counts more.
            await recipients.put_zone(connection, user_id, contact.time_zone if contact else "UTC", 0)

    def _learnt(self, task: "asyncio.Task[None]") -> None:
        del self._learning[task]
        if not task.cancelled() and (error := task.exception()):
            log.warning("%s: a zone was not learnt: %s", self.name, error)
        self.wake()

    async def _attempt(self, rows: Sequence[Notification], recipient: Recipient) -> None:
        """Sends one message and notes the result, which is the same for all of its deliveries."""
        try:
            answer = await self._send(rows, recipient)
        except NotToBeSent as refusal:
            ended = deliveries.removed(rows[0], refusal.reason)
            await self._noted(partial(self._note, rows, ended, refusal.reason))
        except OutgoingFailure as failure:
            self._judge(rows, worked=not isinstance(failure, TemporaryFailure))
            await self._failed(rows, failure)
        else:
            self._judge(rows, worked=True)
            await self._noted(partial(self._note, rows, deliveries.sent(rows[0], self.clock()), answer))
            async with self.turns.of(rows[0].user_id):
                await self.messages.note_success(rows[0])

    def _judge(self, rows: Sequence[Notification], *, worked: bool) -> None:
        if self.channel in _OF_USERS:
            self.places.note(rows[0].user_id, worked=worked)

    async def _send(self, rows: Sequence[Notification], recipient: Recipient) -> str:
        if self.sender is None:
            raise NotToBeSent("CHANNEL_UNAVAILABLE")
        try:
            outgoing = await self.messages.make(rows, recipient, self.clock())
            return await self.sender.send(outgoing)
        except (OutgoingFailure, NotToBeSent):
            raise
        except DependencyUnavailable as error:
            raise TemporaryFailure(f"{error.dependency} is not available") from error
        except CalleeError as error:
            raise TemporaryFailure(f"auth refuses: {error.reason}") from error
        except Exception as error:
            log.exception("%s: unexpected", self.name)
            raise TemporaryFailure("internal error") from error

    async def _failed(self, rows: Sequence[Notification], failure: OutgoingFailure) -> None:
        now, wait = self.clock(), None
        if isinstance(failure, TemporaryFailure):
            wait = deliveries.retry_seconds(self.channel, rows[0].attempts, failure.retry_after_seconds)
        ended = deliveries.failed(rows[0], failure.answer, now=now, wait=wait)
        await self._noted(partial(self._note, rows, ended, failure.answer))
        async with self.turns.of(rows[0].user_id):
            await self.messages.note_failure(rows[0], failure.answer, now=now, is_gone=isinstance(failure, TargetGone))

    async def _noted(self, write: Callable[[], Awaitable[None]]) -> None:
        """Writes a result, again while the database is away: a message whose result is lost is sent again."""
        until = time.monotonic() + self.lease_seconds / 2
        for failures in count(1):
            try:
                return await write()
            except Exception as error:
                if time.monotonic() > until:
                    raise
                log.warning("%s: a result waits to be noted after %s", self.name, type(error).__name__)
                await asyncio.sleep(backoff(failures, most=5.0))
        return None

    async def _note(self, rows: Sequence[Notification], ended: Notification, answer: str) -> None:
        """Writes the result of an attempt, unless another process has begun another one since.

        ended: the first delivery, as it is now. What has failed for good is published.
        """
        async with self.turns.of(ended.user_id), self.db.transaction() as tx:
            user, count = await store.end_attempt(tx, ended, answer, late_seconds=deliveries.LATE_SECONDS)
            is_published = count > 0 and ended.outcome == Outcome.FAILED
            if is_published:
                now = self.clock()
                first = [deliveries.failed(row, answer, now=now, wait=None) for row in rows[: events.MOST_ITEMS]]
                await report_failures(tx, now, {user.user_id: user}, first, count)
        if is_published:
            outbox.wake()
