"""The RPCs of ReminderService, one method each."""

from collections.abc import Callable

from focusmesh.notification.v1 import reminder_service_pb2 as pb
from focusmesh.notification.v1 import reminder_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from mesh.rpc.change import change
from mesh.rpc.etag import etag_of
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.notification import wire
from services.notification.errors import TooManyReminders
from services.notification.model import MOST_PENDING, Reminder, ReminderStatus
from services.notification.rules import reminders as rules
from services.notification.store import reminders as store


class ReminderHandlers(rpc.ReminderServiceServicer):
    """Reminders of the caller."""

    def __init__(self, db: Database, pages: Pages, clock: Clock, wake_firer: Callable[[], None]) -> None:
        """wake_firer: called when a reminder may be due sooner than any other."""
        self.db, self.pages, self.clock, self.wake_firer = db, pages, clock, wake_firer

    async def CreateReminder(self, request: pb.CreateReminderRequest, context: Context) -> pb.CreateReminderResponse:
        call, now = current_call(), self.clock()
        reminder = wire.reminder_from_pb(request, reminder_id=new_id(), user_id=call.user_id, now=now)
        rules.require_ahead(reminder.scheduled_for, now)
        response = pb.CreateReminderResponse(reminder=wire.reminder_to_pb(reminder))
        async with self.db.connection() as connection:
            await store.insert_reminder(connection, reminder, call.side_effects(response))
        self.wake_firer()
        return response

    async def GetReminder(self, request: pb.GetReminderRequest, context: Context) -> pb.GetReminderResponse:
        async with self.db.connection() as connection:
            reminder = await store.get_reminder(connection, current_call().user_id, request.reminder_id)
        return pb.GetReminderResponse(reminder=wire.reminder_to_pb(reminder))

    async def ListReminders(self, request: pb.ListRemindersRequest, context: Context) -> pb.ListRemindersResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        states = [wire.REMINDER_STATE_FROM_PB[state] for state in request.states]
        since, until = wire.instant_from_pb(request, "from_time"), wire.instant_from_pb(request, "before_time")
        async with self.db.connection() as connection:
            found = await store.list_reminders(connection, user_id, states, since, until, page)
        response = pb.ListRemindersResponse(reminders=map(wire.reminder_to_pb, found[: page.size]))
        return self.pages.cut(response, found, page, store.page_key)

    async def SnoozeReminder(self, request: pb.SnoozeReminderRequest, context: Context) -> pb.SnoozeReminderResponse:
        user_id, now = current_call().user_id, self.clock()
        until = wire.snoozed_until(request, now)

        async def read(connection: Connection) -> Reminder:
            reminder = await store.get_reminder(connection, user_id, request.reminder_id)
            if reminder.status != ReminderStatus.PENDING and not await store.has_room(connection, user_id):
                raise TooManyReminders(limit=MOST_PENDING)
            return reminder

        response = await change(
            self.db,
            read=read,
            decide=lambda reminder: rules.snooze(reminder, until, now=now, etag=etag_of(request)),
            respond=lambda reminder: pb.SnoozeReminderResponse(reminder=wire.reminder_to_pb(reminder)),
            save=store.save_snoozed,
        )
        self.wake_firer()
        return response

    async def CancelReminder(self, request: pb.CancelReminderRequest, context: Context) -> pb.CancelReminderResponse:
        user_id, now = current_call().user_id, self.clock()
        return await change(
            self.db,
            read=lambda connection: store.get_reminder(connection, user_id, request.reminder_id),
            decide=lambda reminder: rules.cancel(reminder, now=now, etag=etag_of(request)),
            respond=lambda reminder: pb.CancelReminderResponse(reminder=wire.reminder_to_pb(reminder)),
            save=store.save_cancelled,
        )
