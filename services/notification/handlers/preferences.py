"""The RPCs of NotificationPreferenceService, one method each."""

from collections.abc import Callable

from focusmesh.notification.v1 import notification_preference_service_pb2 as pb
from focusmesh.notification.v1 import notification_preference_service_pb2_grpc as rpc
from focusmesh.notification.v1.notification_preferences_pb2 import NotificationPreferences

from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from mesh.rpc.change import change
from mesh.rpc.etag import check_etag, etag_of, next_version
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.notification import wire
from services.notification.errors import CodeInvalid, QuietHoursEmpty, SmsUnavailable
from services.notification.model import Cause, Channel, Kind, Recipient
from services.notification.rules import deliveries
from services.notification.rules import targets as rules
from services.notification.rules.secrets import Sealer
from services.notification.store import deliveries as delivery_store
from services.notification.store import recipients, targets


class NotificationPreferenceHandlers(rpc.NotificationPreferenceServiceServicer):
    """Preferences of the caller."""

    def __init__(
        self, db: Database, sealer: Sealer, clock: Clock, wake_senders: Callable[[], None], *, has_sms: bool
    ) -> None:
        self.db, self.sealer, self.clock, self.wake_senders, self.has_sms = db, sealer, clock, wake_senders, has_sms

    async def GetNotificationPreferences(
        self, request: pb.GetNotificationPreferencesRequest, context: Context
    ) -> pb.GetNotificationPreferencesResponse:
        async with self.db.connection() as connection:
            recipient = await recipients.get_recipient(connection, current_call().user_id)
        return pb.GetNotificationPreferencesResponse(preferences=_to_pb(recipient))

    async def UpdateNotificationPreferences(
        self, request: pb.UpdateNotificationPreferencesRequest, context: Context
    ) -> pb.UpdateNotificationPreferencesResponse:
        user_id, now = current_call().user_id, self.clock()

        def decide(recipient: Recipient) -> Recipient:
            check_etag(etag_of(request), recipient.version)
            changes = wire.preferences_from_pb(request, recipient)
            changed = recipient._replace(**changes)
            if changed.quiet_from is not None and changed.quiet_from == changed.quiet_to:
                raise QuietHoursEmpty
            return recipient if changed == recipient else next_version(recipient, now, **changes)

        response = await change(
            self.db,
            read=lambda connection: recipients.get_recipient(connection, user_id),
            decide=decide,
            respond=lambda recipient: pb.UpdateNotificationPreferencesResponse(preferences=_to_pb(recipient)),
            save=recipients.save_preferences,
        )
        async with self.db.transaction() as tx:
            await recipients.wake_deferred(tx, user_id)
        self.wake_senders()
        return response

    async def VerifyPhone(self, request: pb.VerifyPhoneRequest, context: Context) -> pb.VerifyPhoneResponse:
        if not self.has_sms:
            raise SmsUnavailable
        if request.HasField("code"):
            await self._verify(request.phone_number, request.code)
            return pb.VerifyPhoneResponse(is_verified=True)
        await self._send_code(request.phone_number)
        return pb.VerifyPhoneResponse(is_verified=False)

    async def _send_code(self, phone_number: str) -> None:
        """Makes the delivery of a code, which is drawn when it is sent."""
        user_id, now = current_call().user_id, self.clock()
        cause = Cause(
            source_id=new_id(),
            user_id=user_id,
            kind=Kind.ACCOUNT,
            scheduled_for=now,
            payload={"title": "", "event_type": "verify_phone", "phone_number": phone_number},
            expires_at=rules.code_expires(now),
        )
        async with self.db.transaction() as tx:
            await recipients.lock_recipient(tx, user_id)
            known = await targets.find_code(tx, user_id)
            await targets.put_code(tx, rules.ask_code(known, user_id, phone_number, now=now))
            await delivery_store.insert(tx, [deliveries.of_account(cause, Channel.SMS, now=now)])
        self.wake_senders()

    async def _verify(self, phone_number: str, code: str) -> None:
        """Takes the number when the code is right; a try counts before it is compared."""
        user_id, now = current_call().user_id, self.clock()
        async with self.db.connection() as connection:
            await targets.count_try(connection, user_id)
        async with self.db.transaction() as tx:
            await recipients.lock_recipient(tx, user_id)
            known = await targets.find_code(tx, user_id)
            code_hash = self.sealer.code_hash(code, user_id, phone_number)
            if not rules.accepts(known, code_hash, phone_number, now=now):
                raise CodeInvalid
            await targets.void_code(tx, user_id)
            await recipients.set_phone(tx, user_id, phone_number)


def _to_pb(recipient: Recipient) -> NotificationPreferences:
    channels = {channel: recipient.channels.get(channel) or wanted for channel, wanted in deliveries.DEFAULTS.items()}
    return wire.preferences_to_pb(recipient, channels)
