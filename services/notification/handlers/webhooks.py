"""The RPCs of WebhookService, one method each."""

from collections.abc import Callable

from focusmesh.notification.v1 import webhook_service_pb2 as pb
from focusmesh.notification.v1 import webhook_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.rpc.call import Context, current_call
from mesh.rpc.change import change
from mesh.rpc.etag import check_etag, etag_of
from mesh.runtime.clock import Clock
from mesh.runtime.errors import FieldViolation
from mesh.runtime.ids import new_id
from services.notification import wire
from services.notification.clients import Guard
from services.notification.errors import DeliveryPending, TooManyWebhooks, WebhookDisabled, WebhookUrlInvalid
from services.notification.model import Webhook
from services.notification.rules import deliveries, secrets
from services.notification.rules import targets as rules
from services.notification.rules.secrets import Sealer
from services.notification.store import deliveries as delivery_store
from services.notification.store import notifications, recipients
from services.notification.store import targets as store

_OVERLAP_HOURS = 24


class WebhookHandlers(rpc.WebhookServiceServicer):
    """Webhooks of the caller."""

    def __init__(
        self, db: Database, guard: Guard, sealer: Sealer, clock: Clock, wake_senders: Callable[[], None]
    ) -> None:
        self.db, self.guard, self.sealer, self.clock, self.wake_senders = db, guard, sealer, clock, wake_senders

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Context) -> pb.CreateWebhookResponse:
        user_id, webhook_id, secret = current_call().user_id, new_id(), secrets.new_secret()
        self._require_callable(request.url)
        sealed = self.sealer.seal(secret, webhook_id)
        webhook = wire.webhook_from_pb(request, webhook_id=webhook_id, user_id=user_id, sealed=sealed, now=self.clock())
        async with self.db.transaction() as tx:
            await recipients.lock_recipient(tx, user_id)
            if len(await store.list_webhooks(tx, user_id)) >= rules.MOST_WEBHOOKS:
                raise TooManyWebhooks(limit=rules.MOST_WEBHOOKS)
            await store.insert_webhook(tx, webhook)
        return pb.CreateWebhookResponse(webhook=wire.webhook_to_pb(webhook), secret=secrets.shown(secret))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Context) -> pb.ListWebhooksResponse:
        async with self.db.connection() as connection:
            found = await store.list_webhooks(connection, current_call().user_id)
        return pb.ListWebhooksResponse(webhooks=map(wire.webhook_to_pb, found))

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: Context) -> pb.UpdateWebhookResponse:
        user_id, now, changes = current_call().user_id, self.clock(), wire.webhook_changes_from_pb(request)
        if "url" in changes:
            self._require_callable(request.url)
        return await change(
            self.db,
            read=lambda connection: store.get_webhook(connection, user_id, request.webhook_id),
            decide=lambda webhook: rules.update_webhook(webhook, changes, now=now, etag=etag_of(request)),
            respond=lambda webhook: pb.UpdateWebhookResponse(webhook=wire.webhook_to_pb(webhook)),
            save=store.save_webhook,
        )

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> pb.DeleteWebhookResponse:
        call = current_call()

        async def decide(connection: Connection) -> pb.DeleteWebhookResponse:
            async with connection.transaction():
                await recipients.lock_recipient(connection, call.user_id)
                webhook = await store.get_webhook(connection, call.user_id, request.webhook_id)
                check_etag(etag_of(request), webhook.version)
                response = pb.DeleteWebhookResponse(webhook=wire.webhook_to_pb(webhook))
                await store.delete_webhook(connection, webhook, call.side_effects(response))
            return response

        return await self.db.retry_on_conflict(decide)

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: Context
    ) -> pb.RotateWebhookSecretResponse:
        call, now, secret = current_call(), self.clock(), secrets.new_secret()
        hours = request.overlap_hours if request.HasField("overlap_hours") else _OVERLAP_HOURS

        async def decide(connection: Connection) -> Webhook:
            webhook = await store.get_webhook(connection, call.user_id, request.webhook_id)
            sealed = self.sealer.seal(secret, webhook.id)
            rotated = rules.rotate(webhook, sealed, overlap_hours=hours, now=now, etag=etag_of(request))
            await store.save_webhook(connection, rotated, SideEffects((), None, call.traceparent))
            return rotated

        webhook = await self.db.retry_on_conflict(decide)
        return pb.RotateWebhookSecretResponse(webhook=wire.webhook_to_pb(webhook), secret=secrets.shown(secret))

    async def RedeliverWebhook(
        self, request: pb.RedeliverWebhookRequest, context: Context
    ) -> pb.RedeliverWebhookResponse:
        call = current_call()

        async def decide(connection: Connection) -> pb.RedeliverWebhookResponse:
            async with connection.transaction():
                await recipients.lock_recipient(connection, call.user_id)
                row, attempts = await notifications.get_webhook_delivery(connection, call.user_id, request.delivery_id)
                webhook_id = row.target_id or ""
                webhook = (await store.find_webhooks(connection, [webhook_id])).get(webhook_id)
                if webhook is None or not webhook.is_enabled:
                    raise WebhookDisabled(webhook_id=webhook_id)
                if row.next_attempt_at is not None:
                    raise DeliveryPending(delivery_id=row.id)
                await recipients.count_repeat(connection, call.user_id)
                again = deliveries.again(row, self.clock())
                response = pb.RedeliverWebhookResponse(delivery=wire.delivery_to_pb(again, attempts))
                await delivery_store.save_again(connection, again, call.side_effects(response))
            return response

        response = await self.db.retry_on_conflict(decide)
        self.wake_senders()
        return response

    def _require_callable(self, url: str) -> None:
        try:
            self.guard.parse(url)
        except ValueError as error:
            raise WebhookUrlInvalid(problem=str(error), fields=[FieldViolation("url", str(error))]) from None
