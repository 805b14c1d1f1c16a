"""Users with a history, as the consumer makes it of events, and as they see it."""

from collections.abc import Sequence
from typing import Any

import grpc
from focusmesh.history.v1 import archived_session_pb2
from focusmesh.history.v1 import history_service_pb2 as pb
from focusmesh.history.v1 import history_service_pb2_grpc as rpc
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.database.pool import Database
from mesh.events.inbox import Inbox
from mesh.events.outbox import Event
from mesh.runtime import clock
from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.ids import new_id
from services.history.consumers import Recorder
from services.history.model import Person
from tests.support import focus_events, user_events
from tests.support.focus_events import Timer, consumed
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub


class Time:
    """The clock of a service, which goes on when a test says so."""

    def __init__(self) -> None:
        self._now = clock.now()

    def now(self) -> int:
        """The instant, and a microsecond more each time."""
        self._now += 1
        return self._now

    def pass_(self, seconds: int) -> None:
        """Moves the clock."""
        self._now += seconds * SECOND

    def noon(self, days_ago: int) -> int:
        """Noon in UTC so many days ago."""
        return (self._now // DAY - days_ago) * DAY + DAY // 2


async def nobody(user_id: str) -> Person:
    """Auth, which is never asked: events of the user come first."""
    raise AssertionError(f"auth is asked for {user_id}")


class History(UserStub):
    """One user."""

    db: Database
    time: Time

    async def lives(self, zone: str, *, since: int = 0, day_start_minutes: int = 0, week_start: str = "monday") -> None:
        """Applies the event of where the user is since an instant."""
        event = user_events.a_user_event(self.user_id, "user-updated", version=since // SECOND + 1)
        payload = {"name": None, "time_zone": zone, "day_start_minutes": day_start_minutes, "week_start": week_start}
        await self.apply([event._replace(time=since, payload=payload)], user_events.TOPIC)

    def session(self, begin: int, **plan: Any) -> Timer:
        """A session that begins then; `record` applies its events."""
        return Timer(self.user_id, begin, **plan)

    async def record(self, timer: Timer) -> None:
        """Applies the events of a session that are not applied yet."""
        await self.apply(timer.events)

    async def apply(self, events: Sequence[Event], topic: str = focus_events.TOPIC) -> None:
        """Applies events as the service's consumer does."""
        await Inbox(self.db, Recorder(self.db, nobody).subscriptions()).apply(consumed(events, topic))

    async def summary(self, group: int, first: str = "2020-01-01", before: str = "2029-12-31", **more: Any) -> Any:
        """A summary of all the time, unless a window is given."""
        return await self.SummarizeFocus(group=group, from_date=first, before_date=before, **more)


def timestamp(instant: int) -> Timestamp:
    """The instant in a request."""
    message = Timestamp()
    clock.set_timestamp(message, instant)
    return message


async def add(user: History, begin: int, seconds: int = 1800, **more: Any) -> archived_session_pb2.ArchivedSession:
    """Adds a session by hand."""
    response = await user.AddManualSession(
        start_time=timestamp(begin), end_time=timestamp(begin + seconds * SECOND), **more
    )
    session: archived_session_pb2.ArchivedSession = response.archived_session
    return session


class Histories:
    """Makes users."""

    def __init__(self, channel: grpc.aio.Channel, db: Database, signer: Signer, time: Time) -> None:
        self._stub, self._db, self._signer, self._time = rpc.HistoryServiceStub(channel), db, signer, time

    async def user(self, zone: str = "UTC", **home: Any) -> History:
        """A new user in a zone."""
        made = History(self._stub, pb, self._signer, new_id())
        made.db, made.time = self._db, self._time
        await made.lives(zone, **home)
        return made
