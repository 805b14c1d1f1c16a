"""The periodic tasks of the pomodoro service."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import ClassVar

from focusmesh.auth.v1.guest_service_pb2 import EndGuestRequest
from focusmesh.auth.v1.guest_service_pb2_grpc import GuestServiceStub
from redis.exceptions import RedisError

from mesh.database.pool import Database, WriteConflict
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.rpc.etag import next_version
from mesh.runtime.clock import Clock
from mesh.runtime.errors import DependencyUnavailable, Overloaded
from mesh.runtime.ids import new_id
from mesh.runtime.lifecycle import PeriodicTask
from services.pomodoro import events
from services.pomodoro.cache import ChangeSender, Guests, GuestSessions, Presence
from services.pomodoro.model import Act, Focus, GuestClaim
from services.pomodoro.rules import sessions
from services.pomodoro.store import claims as claim_store
from services.pomodoro.store import sessions as session_store

_REPLICAS = 4
"""Batches among which replicas that look at the same time find sessions that no other has locked."""
_CALLS = 4
"""Guests that are ended at once."""
_PORTION = 300
"""Transitions and tasks of sessions that are written by one statement, unless one session has more; those of most
sessions are a dozen."""
_FINISHED_DAYS = 7
"""How long a finished session stays; then it is in the archive only."""
_CLAIM_DAYS = 30
"""How long a claim is answered again; a guest's refresh token is valid for three days at most."""


class IntervalEnder(PeriodicTask):
    """Ends the intervals that are due, each at its end; sleeps until the next one, at most a second.

    Any number of replicas: each claims other sessions, by the database's clock.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable, WriteConflict)
    batch: ClassVar[int] = 50
    most_ends: ClassVar[int] = 4
    """Of one session in one pass: their events take 30 ms at most."""

    def __init__(self, db: Database, presence: Presence, changes: ChangeSender) -> None:
        super().__init__("end intervals")
        self.db, self.presence, self.changes = db, presence, changes

    async def run_once(self) -> int:
        """Ends the intervals of one batch of sessions; returns how many sessions."""
        ended = await self._end()
        for focus in ended:
            self.changes.send(focus.session.user_id)
        if ended:
            outbox.wake()
        else:
            await self._wake_when_due()
        return len(ended)

    async def _end(self) -> list[Focus]:
        async with self.db.connection() as connection:
            due = await session_store.list_due(connection, self.batch * _REPLICAS)
        seen = await self.presence.last([user_id for user_id, endless in due if endless])
        ended = []
        async with self.db.transaction() as tx:
            now, claimed = await session_store.claim_due(tx, [user_id for user_id, _ in due], self.batch)
            for some in _portions(claimed):
                stepped = [
                    list(sessions.advance(focus, now, seen.get(focus.session.user_id), self.most_ends))
                    for focus in some
                ]
                last = [steps[-1] for steps in stepped]
                made = [events.session_phase_changed(step) for steps in stepped for step in steps]
                await session_store.save_locked(tx, last, SideEffects(made, None, ""))
                ended += last
        return ended

    async def _wake_when_due(self) -> None:
        async with self.db.connection() as connection:
            self.wake_in(await session_store.seconds_until_due(connection))


def _portions(claimed: Sequence[Focus]) -> Iterator[list[Focus]]:
    """The sessions in portions whose ends, events included, take the event loop for a moment only."""
    portion, size = list[Focus](), 0
    for focus in claimed:
        rows = len(focus.transitions) + len(focus.tasks)
        if portion and size + rows > _PORTION:
            yield portion
            portion, size = [], 0
        portion.append(focus)
        size += rows
    if portion:
        yield portion


class GuestIntervalEnder(PeriodicTask):
    """The same for the sessions of guests, by the clock of Redis; a replica that comes second finds nothing due."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError, Overloaded)
    batch: ClassVar[int] = 50

    def __init__(self, guests: Guests, presence: Presence, changes: ChangeSender) -> None:
        super().__init__("end intervals of guests")
        self.guests, self.presence, self.changes = guests, presence, changes

    async def run_once(self) -> int:
        """Ends the intervals of one batch of guests; returns how many guests."""
        due = await self.guests.list_due(self.batch)
        seen = await self.presence.last(due.guest_ids)
        for guest_id in due.guest_ids:
            found = await self.guests.find(guest_id)
            if found is not None and await self._end(found, due.now, seen.get(guest_id)):
                self.changes.send(guest_id)
        if not due.guest_ids:
            self.wake_in(due.seconds)
        return len(due.guest_ids)

    async def _end(self, found: GuestSessions, now: int, seen: int | None) -> bool:
        """Whether it ended any; another write that came first did so."""
        running = await found.find_running(found.guest.id)
        steps = [] if running is None else list(sessions.advance(running, now, seen, IntervalEnder.most_ends))
        with suppress(WriteConflict):
            if steps:
                await found.save(steps[-1], SideEffects((), None, ""))
        return bool(steps)


class GuestEnder(PeriodicTask):
    """Ends the guests whom accounts have claimed: all of them here, then each at auth; until that has worked."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable, RedisError, OSError)
    longest_wait: ClassVar[float] = 5.0
    longest_backoff: ClassVar[float] = 5.0
    batch: ClassVar[int] = 50

    def __init__(self, db: Database, guests: Guests, auth: GuestServiceStub, changes: ChangeSender) -> None:
        super().__init__("end claimed guests")
        self._calls = asyncio.Semaphore(_CALLS)
        self.db, self.guests, self.auth, self.changes = db, guests, auth, changes

    async def run_once(self) -> int:
        """Ends one batch of guests; returns how many. Raises the first error of auth when all were tried."""
        async with self.db.connection() as connection:
            claims = await claim_store.list_unended(connection, self.batch)
        for claim in claims:
            await self.guests.forget(claim.guest_id)
            self.changes.send(claim.guest_id)
        results = await asyncio.gather(*(self._end(claim) for claim in claims), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(claims)

    async def _end(self, claim: GuestClaim) -> None:
        request = EndGuestRequest(user_id=claim.user_id, guest_id=claim.guest_id, request_id=new_id())
        async with self._calls:
            await self.auth.EndGuest(request)
            async with self.db.connection() as connection:
                await claim_store.end_claim(connection, claim.guest_id)


class PausedRetention(PeriodicTask):
    """Puts sessions away that were paused for too long: into the archive, or deleted with an undelete."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable, WriteConflict)
    longest_wait: ClassVar[float] = 60.0
    batch: ClassVar[int] = 50

    def __init__(self, db: Database, changes: ChangeSender, clock: Clock, *, days: int, deletes: bool) -> None:
        super().__init__("put paused sessions away")
        self.db, self.changes, self.clock, self.days, self.deletes = db, changes, clock, days, deletes

    async def run_once(self) -> int:
        """Puts one batch away; returns its size."""
        async with self.db.transaction() as tx:
            claimed = await session_store.claim_paused(tx, self.days, self.batch)
            for focus in claimed:
                if self.deletes:
                    deleted = sessions.delete(focus, Act(self.clock(), None, None))
                    await session_store.UserSessions(tx).save(deleted, _effects(events.session_deleted(deleted)))
                else:
                    archived = focus._replace(session=next_version(focus.session, self.clock()))
                    await session_store.remove(tx, archived, _effects(events.session_archived(archived)))
        for focus in claimed:
            self.changes.send(focus.session.user_id)
        if claimed:
            outbox.wake()
        return len(claimed)


class SessionPurger(PeriodicTask):
    """Removes deleted sessions whose 30 days for an undelete are over, finished ones after seven days, old claims."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 60.0
    batch: ClassVar[int] = 200

    def __init__(self, db: Database) -> None:
        super().__init__("purge sessions")
        self.db = db

    async def run_once(self) -> int:
        """Removes one batch; returns its size."""
        async with self.db.connection() as connection:
            purged = await session_store.purge(connection, _FINISHED_DAYS, self.batch)
            return purged + await claim_store.purge_claims(connection, _CLAIM_DAYS, self.batch)


def _effects(event: Event) -> SideEffects:
    return SideEffects([event], None, "")
