"""Somebody with a calendar."""

from typing import Any, Self

import grpc
import orjson
from focusmesh.calendar.v1 import (
    calendar_file_service_pb2,
    calendar_file_service_pb2_grpc,
    calendar_subscription_service_pb2,
    calendar_subscription_service_pb2_grpc,
    event_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    occurrence_service_pb2,
    occurrence_service_pb2_grpc,
    planning_service_pb2,
    planning_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.database.pool import Database
from services.calendar.store import users
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub


class Person:
    """A user's view of the services of the calendar."""

    def __init__(self, channel: grpc.aio.Channel, signer: Signer, db: Database) -> None:
        """db: of the calendar."""
        self._channel, self._signer, self._db = channel, signer, db
        self.events = UserStub(event_service_pb2_grpc.EventServiceStub(channel), event_service_pb2, signer)
        self.user_id = self.events.user_id
        self.occurrences = UserStub(
            occurrence_service_pb2_grpc.OccurrenceServiceStub(channel), occurrence_service_pb2, signer, self.user_id
        )
        self.planning = UserStub(
            planning_service_pb2_grpc.PlanningServiceStub(channel), planning_service_pb2, signer, self.user_id
        )
        subscriptions = calendar_subscription_service_pb2_grpc.CalendarSubscriptionServiceStub(channel)
        self.subscriptions = UserStub(subscriptions, calendar_subscription_service_pb2, signer, self.user_id)
        files = calendar_file_service_pb2_grpc.CalendarFileServiceStub(channel)
        self.files = UserStub(files, calendar_file_service_pb2, signer, self.user_id)

    @classmethod
    async def living_in(cls, zone: str, channel: grpc.aio.Channel, signer: Signer, db: Database) -> Self:
        """A new user, of whom the calendar knows where they are."""
        person = cls(channel, signer, db)
        async with db.connection() as connection:
            await users.learn_zone(connection, person.user_id, zone)
        return person

    async def another(self, zone: str = "Europe/Zurich") -> Self:
        """Another user."""
        return await self.living_in(zone, self._channel, self._signer, self._db)

    async def event(self, start: str = "2026-09-07T18:00:00", **fields: Any) -> event_pb2.Event:
        """A new event of theirs."""
        created = await self.events.CreateEvent(**({"title": "Deep work", "start": start} | fields))
        made: event_pb2.Event = created.event
        return made

    async def get(self, event_id: str) -> event_pb2.Event:
        """The event as it is now."""
        read: event_pb2.Event = (await self.events.GetEvent(event_id=event_id)).event
        return read

    async def occurrence(self, occurrence_id: str) -> event_pb2.Occurrence:
        """The occurrence as it is now."""
        read: event_pb2.Occurrence = (await self.occurrences.GetOccurrence(occurrence_id=occurrence_id)).occurrence
        return read

    async def listed(self, begin: str, end: str, **fields: Any) -> list[event_pb2.Occurrence]:
        """What takes place between two UTC times such as `2026-09-07T00:00:00Z`, on the first page."""
        window = {"start_time": timestamp(begin), "end_time": timestamp(end)}
        return list((await self.occurrences.ListOccurrences(**window, **fields)).occurrences)

    async def published(self) -> list[dict[str, Any]]:
        """The data of every message about the user's events, in order."""
        async with self._db.connection() as connection:
            cursor = await connection.execute("SELECT value FROM outbox WHERE key = %s ORDER BY seq", (self.user_id,))
            return [orjson.loads(value)["data"] for (value,) in await cursor.fetchall()]

    async def follow(self, event_id: str) -> None:
        """Makes an event one that came by a subscription."""
        async with self._db.connection() as connection:
            await connection.execute(
                "UPDATE events SET subscription_id = uuidv7(), uid = id::text WHERE id = %s::uuid", (event_id,)
            )

    async def cancel_many(self, event_id: str, first: str, count: int) -> None:
        """Cancels so many occurrences of a daily event from a slot on."""
        async with self._db.connection() as connection:
            await connection.execute(
                """
                INSERT INTO occurrences (event_id, slot, user_id, status)
                SELECT %s::uuid, to_char(day, 'YYYY-MM-DD"T"HH24:MI:SS'), %s::uuid, 'cancelled'
                FROM generate_series(%s::timestamp, %s::timestamp + %s * interval '1 day', '1 day') AS day""",
                (event_id, self.user_id, first, first, count - 1),
            )


def timestamp(text: str) -> Timestamp:
    """The instant of a UTC time such as `2026-09-07T00:00:00Z`."""
    made = Timestamp()
    made.FromJsonString(text)
    return made
