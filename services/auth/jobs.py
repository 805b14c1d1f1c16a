"""The periodic tasks of the auth service."""

from contextlib import suppress
from typing import ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc import revocations
from mesh.runtime.clock import DAY, SECOND, Clock
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.ids import new_id
from mesh.runtime.lifecycle import PeriodicTask
from services.auth import events
from services.auth.errors import EmailTaken
from services.auth.model import Mail, MailKind, MailRequest, Registration, User
from services.auth.rules import addresses, sessions, users
from services.auth.store import accounts, logins, mails

_BATCH = 500


class RevocationReseeder(PeriodicTask):
    """Restores revoked sessions that Redis has lost, while their access tokens may be valid.

    Every second the task reads the process id of Redis: a new process may have lost what the last one knew. Accounts
    that an operator closed in the database reach Redis the same way, within a minute.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable, RedisError)
    longest_backoff: ClassVar[float] = 1.0
    longest_interval: ClassVar[int] = 60 * SECOND
    """Microseconds between two comparisons while Redis does not restart."""

    def __init__(self, db: Database, redis: "Redis", clock: Clock) -> None:
        super().__init__("reseed revocations")
        self.db, self.redis, self.clock = db, redis, clock
        self._compared_with = ""
        self._compared_at = 0

    async def run_once(self) -> int:
        """Compares after a restart of Redis, or after a minute; returns how many revocations were missing."""
        process = str((await self.redis.info("server"))["run_id"])
        now = self.clock()
        if process == self._compared_with and now - self._compared_at < self.longest_interval:
            return 0
        ended = await self._ended(now)
        missing = await self._missing(list(ended))
        for member in missing:
            await revocations.push(self.redis, member, ended[member])
        self._compared_with, self._compared_at = process, now
        return len(missing)

    async def _ended(self, now: int) -> dict[str, float]:
        """The members that Redis must contain, and until when."""
        since = now - sessions.REFUSED_FOR
        async with self.db.connection() as connection:
            ended = await logins.sessions_ended_since(connection, since)
            closed = await accounts.users_closed_since(connection, since)
        return {revocations.session_member(session): sessions.forget_at(at) for session, at in ended} | {
            revocations.user_member(user, at // SECOND + 1): sessions.forget_at(at) for user, at in closed
        }

    async def _missing(self, members: list[str]) -> list[str]:
        if not members:
            return []
        scores = await self.redis.zmscore(revocations.KEY, members)
        return [member for member, score in zip(members, scores, strict=True) if score is None]


class DeletionPublisher(PeriodicTask):
    """Publishes `user-deleted` for every account whose `deleted_at` is set.

    Its access tokens are refused first, and the event follows when no call that was let in before can still write: a
    service that erased the user's rows gets no new ones.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable, RedisError)
    longest_wait: ClassVar[float] = 5.0
    settle: ClassVar[int] = 15 * SECOND
    """Replicas learn of a revoked session within 2 s, and the longest call takes 10 s."""

    def __init__(self, db: Database, redis: "Redis", clock: Clock) -> None:
        super().__init__("publish deletions")
        self.db, self.redis, self.clock = db, redis, clock
        self._refused_since: dict[str, int] = {}

    async def run_once(self) -> int:
        """Refuses the tokens of deleted accounts and publishes deletions that have settled; returns how many."""
        now, published = self.clock(), 0
        async with self.db.connection() as connection:
            deleted = await accounts.list_unpublished_deletions(connection, _BATCH)
        self._refused_since = {user.id: since for user in deleted if (since := self._refused_since.get(user.id))}
        for user in deleted:
            if user.id not in self._refused_since:
                member = revocations.user_member(user.id, now // SECOND + 1)
                await revocations.push(self.redis, member, sessions.forget_at(now))
                self._refused_since[user.id] = now
            elif now - self._refused_since[user.id] >= self.settle:
                await self._publish(users.forget(user, now=now))
                published += 1
        return published

    async def _publish(self, user: User) -> None:
        side_effects = SideEffects([events.user_deleted(user)], None, "")
        with suppress(WriteConflict):  # another replica published it first
            async with self.db.transaction() as tx:
                await accounts.publish_deletion(tx, user, side_effects)
                await logins.end_sessions(tx, user.id, user.updated_at)
            outbox.wake()


class RegistrationCompleter(PeriodicTask):
    """Makes the accounts that were asked for, or, where the address has one, asks for a mail to its owner."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)

    def __init__(self, db: Database, clock: Clock) -> None:
        super().__init__("complete registrations")
        self.db, self.clock = db, clock

    async def run_once(self) -> int:
        """Completes one registration; returns how many."""
        async with self.db.transaction() as tx:
            registration = await accounts.take_registration(tx)
            if registration is None:
                return 0
            await self._complete(tx, registration)
        outbox.wake()
        return 1

    async def _complete(self, tx: Connection, registration: Registration) -> None:
        user, password_hash, traceparent = registration
        mail = addresses.first_mail(new_id(), user)
        side_effects = SideEffects([events.user_registered(user), events.mail_requested(mail)], None, traceparent)
        try:
            await accounts.insert_account(tx, user, password_hash, mail, side_effects)
        except EmailTaken:
            request = MailRequest(new_id(), user.email, MailKind.RESET_PASSWORD, self.clock(), traceparent)
            await mails.insert_request(tx, request, SideEffects((), None, traceparent))


class MailRequester(PeriodicTask):
    """Answers requests for mails: those of addresses that have an account become mails, and are published."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)

    def __init__(self, db: Database, clock: Clock) -> None:
        super().__init__("request mails")
        self.db, self.clock = db, clock

    async def run_once(self) -> int:
        """Answers one request; returns how many."""
        async with self.db.transaction() as tx:
            request = await mails.take_request(tx)
            if request is None:
                return 0
            owner = await accounts.find_owner(tx, request.email)
            if owner and (kind := addresses.answer_to(MailKind(request.kind), verified=owner.email_verified)):
                mail = Mail(new_id(), owner.user_id, kind, self.clock())
                await mails.insert_mail(tx, mail, SideEffects([events.mail_requested(mail)], None, request.traceparent))
        outbox.wake()
        return 1


class MailPurger(PeriodicTask):
    """Removes mails whose tokens have all expired."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 600.0

    def __init__(self, db: Database, clock: Clock) -> None:
        super().__init__("purge mails")
        self.db, self.clock = db, clock

    async def run_once(self) -> int:
        """Removes one batch; returns its size."""
        async with self.db.connection() as connection:
            return await mails.purge_mails(connection, self.clock() - addresses.KEPT, _BATCH)


class SessionPurger(PeriodicTask):
    """Removes sessions that ended or expired long ago."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 60.0

    def __init__(self, db: Database, clock: Clock, retention_days: int) -> None:
        """retention_days: how long they are kept after their end."""
        super().__init__("purge sessions")
        self.db, self.clock, self.retention = db, clock, retention_days * DAY

    async def run_once(self) -> int:
        """Removes one batch; returns its size."""
        async with self.db.connection() as connection:
            return await logins.purge_sessions(connection, self.clock() - self.retention, _BATCH)
