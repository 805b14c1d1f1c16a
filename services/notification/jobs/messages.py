"""What a sender gets: a message with its address, its secrets and, of the account's own, its token."""

from collections.abc import Sequence
from dataclasses import replace

from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import Clock
from services.notification.clients.auth import Contacts
from services.notification.model import Channel, Kind, Notification, Outgoing, Recipient
from services.notification.rules import deliveries
from services.notification.rules import targets as rules
from services.notification.rules.secrets import Sealer
from services.notification.store import recipients, targets

_NOTHING = SideEffects((), None, "")


class NotToBeSent(Exception):  # noqa: N818 (a decision, not an error)
    """A message must not be sent any more."""

    def __init__(self, reason: str) -> None:
        """reason: such as `TARGET_REMOVED`; its user sees it."""
        self.reason = reason
        super().__init__(reason)


class Messages:
    """Completes messages just before they are sent, and notes what their results say of their targets."""

    def __init__(self, db: Database, contacts: Contacts, sealer: Sealer, clock: Clock) -> None:
        self._db, self._contacts, self._sealer, self._clock = db, contacts, sealer, clock

    async def make(self, rows: Sequence[Notification], recipient: Recipient, now: int) -> Outgoing:
        """The message of these deliveries. Raises NotToBeSent, and DependencyUnavailable while auth is away."""
        first = rows[0]
        plain = Outgoing(
            message_id=first.message_id or "",
            user_id=first.user_id,
            channel=Channel(first.channel),
            kind=Kind(first.notification_type),
            items=deliveries.items(rows, now),
            count=len(rows),
            time_zone=recipient.time_zone or "UTC",
            begun_at=now,
        )
        if plain.channel is Channel.EMAIL:
            return await self._email(first, plain)
        if plain.channel is Channel.SMS:
            return await self._sms(first, plain, recipient)
        if plain.channel is Channel.WEBPUSH:
            return await self._push(first, plain)
        return await self._webhook(first, plain, now)

    async def note_success(self, row: Notification) -> None:
        """Notes that a webhook works."""
        if row.channel == Channel.WEBHOOK and row.target_id:
            async with self._db.connection() as connection:
                await targets.note_success(connection, row.target_id)

    async def note_failure(self, row: Notification, answer: str, *, now: int, is_gone: bool) -> None:
        """Notes that a webhook fails, and removes a push subscription that is gone."""
        if row.target_id is None:
            return
        if row.channel == Channel.WEBPUSH and is_gone:
            await self._remove(row.user_id, row.target_id)
        elif row.channel == Channel.WEBHOOK:
            async with self._db.transaction() as tx:
                webhook = await targets.lock_webhook(tx, row.target_id)
                if webhook is not None:
                    await targets.note_failure(tx, rules.failed(webhook, answer, now=now, gone=is_gone))

    async def _remove(self, user_id: str, subscription_id: str) -> None:
        async with self._db.transaction() as tx:
            await recipients.lock_recipient(tx, user_id)
            found = (await targets.find_subscriptions(tx, [subscription_id])).get(subscription_id)
            if found is not None and found.user_id == user_id:
                await targets.delete_subscription(tx, found, _NOTHING)

    async def _email(self, row: Notification, plain: Outgoing) -> Outgoing:
        contact = await self._contacts.contact(row.user_id)
        if contact is None:
            raise NotToBeSent("ACCOUNT_CLOSED")
        if not contact.email_verified and row.payload.get("event_type") != "verify_email":
            raise NotToBeSent("EMAIL_NOT_VERIFIED")
        addressed = replace(plain, address=contact.email, name=contact.name, time_zone=contact.time_zone)
        if plain.kind is not Kind.ACCOUNT:
            return addressed
        token = await self._contacts.mail_token(row.user_id, row.source_id)
        if token is None:
            raise NotToBeSent("MAIL_WITHDRAWN")
        return replace(addressed, token=token.token, expires_at=token.expires_at)

    async def _sms(self, row: Notification, plain: Outgoing, recipient: Recipient) -> Outgoing:
        if plain.kind is not Kind.ACCOUNT:
            return replace(plain, address=recipient.phone_number or "")
        number, code = str(row.payload["phone_number"]), self._sealer.code(plain.message_id)
        expires_at = row.expires_at or rules.code_expires(self._clock())
        code_hash = self._sealer.code_hash(code, row.user_id, number)
        async with self._db.connection() as connection:
            if not await targets.set_code(connection, row.user_id, number, code_hash, expires_at):
                raise NotToBeSent("CODE_WITHDRAWN")
        return replace(plain, address=number, token=code, expires_at=expires_at)

    async def _push(self, row: Notification, plain: Outgoing) -> Outgoing:
        async with self._db.connection() as connection:
            found = (await targets.find_subscriptions(connection, [row.target_id or ""])).get(row.target_id or "")
        if found is None or found.user_id != row.user_id:
            raise NotToBeSent("TARGET_REMOVED")
        return replace(plain, subscription=found)

    async def _webhook(self, row: Notification, plain: Outgoing, now: int) -> Outgoing:
        async with self._db.connection() as connection:
            found = (await targets.find_webhooks(connection, [row.target_id or ""])).get(row.target_id or "")
        if found is None or found.user_id != row.user_id:
            raise NotToBeSent("TARGET_REMOVED")
        if not found.is_enabled:
            raise NotToBeSent("WEBHOOK_DISABLED")
        sealed = [found.secret]
        if found.old_secret is not None and rules.old_secret_is_valid(found, now):
            sealed.append(found.old_secret)
        opened = [self._sealer.open(each, found.id) for each in sealed]
        return replace(plain, url=found.url, secrets=opened, cause=bytes.fromhex(row.cause or ""))
