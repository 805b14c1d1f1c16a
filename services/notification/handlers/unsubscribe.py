"""The RPC of UnsubscribeService."""

from focusmesh.notification.v1 import unsubscribe_service_pb2 as pb
from focusmesh.notification.v1 import unsubscribe_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.rpc.call import Context, current_call
from mesh.runtime.clock import Clock
from services.notification.clients import UnsubscribeLinks
from services.notification.errors import UnsubscribeTokenInvalid
from services.notification.model import Kind
from services.notification.rules import deliveries
from services.notification.store import recipients


class UnsubscribeHandlers(rpc.UnsubscribeServiceServicer):
    """The end of mails for whoever has the address from one of them."""

    def __init__(self, db: Database, links: UnsubscribeLinks, clock: Clock) -> None:
        self.db, self.links, self.clock = db, links, clock

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, context: Context) -> pb.UnsubscribeResponse:
        call, now, response = current_call(), self.clock(), pb.UnsubscribeResponse()
        subscription = self.links.read(request.token)
        if subscription is None:
            raise UnsubscribeTokenInvalid
        user_id, kind = subscription

        async def end(connection: Connection) -> None:
            recipient = await recipients.get_recipient(connection, user_id)
            effects = call.side_effects(response)
            if recipient.is_deleted:
                await outbox.store_response(connection, effects)
                return
            changed = deliveries.unsubscribed(recipient, kind, now=now)
            await recipients.save_unsubscribed(connection, changed, effects, reminders=kind is Kind.REMINDER)

        await self.db.retry_on_conflict(end)
        return response
