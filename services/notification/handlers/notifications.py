"""The RPCs of NotificationService, one method each."""

from collections.abc import Sequence

from focusmesh.notification.v1 import notification_service_pb2 as pb
from focusmesh.notification.v1 import notification_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.rpc.call import Context, current_call
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from services.notification import events, wire
from services.notification.model import Notification, Recipient
from services.notification.store import notifications as store
from services.notification.store import recipients


class NotificationHandlers(rpc.NotificationServiceServicer):
    """What the caller was notified of."""

    def __init__(self, db: Database, pages: Pages, clock: Clock) -> None:
        self.db, self.pages, self.clock = db, pages, clock

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            found = await store.list_shown(connection, user_id, page, unread_only=request.unread_only)
        response = pb.ListNotificationsResponse(notifications=map(wire.notification_to_pb, found[: page.size]))
        return self.pages.cut(response, found, page, store.shown_key)

    async def GetUnreadCount(self, request: pb.GetUnreadCountRequest, context: Context) -> pb.GetUnreadCountResponse:
        async with self.db.connection() as connection:
            recipient = await recipients.get_recipient(connection, current_call().user_id)
        return pb.GetUnreadCountResponse(unread_count=recipient.unread_count)

    async def MarkRead(self, request: pb.MarkReadRequest, context: Context) -> pb.MarkReadResponse:
        call = current_call()
        async with self.db.transaction() as tx:
            inbox = await recipients.lock_recipient(tx, call.user_id)
            read = await store.mark_read(tx, call.user_id, request.notification_ids)
            response = pb.MarkReadResponse(unread_count=inbox.unread_count - len(read))
            await self._save(tx, inbox, read, len(read), response)
        outbox.wake()
        return response

    async def MarkAllRead(self, request: pb.MarkAllReadRequest, context: Context) -> pb.MarkAllReadResponse:
        call = current_call()
        async with self.db.transaction() as tx:
            inbox = await recipients.lock_recipient(tx, call.user_id)
            count, read = await store.mark_all_read(tx, call.user_id, events.MOST_ITEMS)
            response = pb.MarkAllReadResponse(unread_count=0)
            await self._save(tx, inbox, read, count, response)
        outbox.wake()
        return response

    async def _save(
        self,
        tx: Connection,
        inbox: Recipient,
        read: Sequence[Notification],
        count: int,
        response: pb.MarkReadResponse | pb.MarkAllReadResponse,
    ) -> None:
        """Writes what is unread now of a locked user, with the event and the stored response."""
        call = current_call()
        if not count:
            await outbox.store_response(tx, call.side_effects(response))
            return
        changed = inbox._replace(unread_count=response.unread_count, inbox_version=inbox.inbox_version + 1)
        event = events.notification_read(changed, read, count, self.clock())
        await recipients.save_inboxes(tx, [changed], call.side_effects(response, event))

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Context) -> pb.ListDeliveriesResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            found = await store.list_deliveries(
                connection,
                user_id,
                page,
                reminder_id=request.reminder_id if request.HasField("reminder_id") else None,
                channel=wire.CHANNEL_FROM_PB.get(request.channel),
                target_id=request.target_id if request.HasField("target_id") else None,
            )
        deliveries = [wire.delivery_to_pb(row, attempts) for row, attempts in found[: page.size]]
        return self.pages.cut(pb.ListDeliveriesResponse(deliveries=deliveries), found, page, store.delivery_key)
