"""Somebody with a calendar."""

from typing import Any, Self

import grpc
from focusmesh.calendar.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc

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
