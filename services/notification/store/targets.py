"""Where messages go: push subscriptions, webhooks, and the codes that verify phones."""

from collections.abc import Collection

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from services.notification.errors import PushSubscriptionNotFound, WebhookNotFound
from services.notification.model import PhoneCode, PushSubscription, Webhook
from services.notification.store.deliveries import drop

SUBSCRIPTIONS = Columns(
    "push_subscriptions",
    PushSubscription,
    {
        "id": "uuid",
        "user_id": "uuid",
        "endpoint": "text",
        "p256dh": "text",
        "auth": "text",
        "label": "text",
        "created_at": "timestamptz",
    },
)
WEBHOOKS = Columns(
    "webhooks",
    Webhook,
    {
        "id": "uuid",
        "user_id": "uuid",
        "url": "text",
        "description": "text",
        "is_enabled": "boolean",
        "disabled_reason": "text",
        "failing_since": "timestamptz",
        "last_failed_at": "timestamptz",
        "secret": "bytea",
        "old_secret": "bytea",
        "old_secret_until": "timestamptz",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "version": "bigint",
    },
    fixed={"id", "user_id", "created_at"},
)
CODES = Columns(
    "phone_codes",
    PhoneCode,
    {
        "user_id": "uuid",
        "phone_number": "text",
        "code_hash": "bytea",
        "expires_at": "timestamptz",
        "tries": "integer",
        "asked_on": "text",
        "asked": "integer",
    },
)

_PUT_SUBSCRIPTION = f"""
    INSERT INTO push_subscriptions ({SUBSCRIPTIONS.names}) SELECT {SUBSCRIPTIONS.values}
    ON CONFLICT (endpoint) DO UPDATE SET id = CASE WHEN push_subscriptions.user_id = excluded.user_id
            THEN push_subscriptions.id ELSE excluded.id END,
        user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth, label = excluded.label,
        created_at = excluded.created_at
    RETURNING id"""


async def put_subscription(tx: Connection, subscription: PushSubscription, side_effects: SideEffects) -> None:
    """Stores a subscription in place of the one with the same endpoint, whose id its user keeps."""
    await outbox.write(tx, _PUT_SUBSCRIPTION, SUBSCRIPTIONS.parameters(subscription), side_effects)


async def list_subscriptions(connection: Connection, user_id: str) -> list[PushSubscription]:
    """Reads the subscriptions of a user, the oldest first."""
    cursor = SUBSCRIPTIONS.cursor(connection)
    await cursor.execute(
        f"SELECT {SUBSCRIPTIONS.select} FROM push_subscriptions WHERE user_id = %s::uuid ORDER BY created_at, id",
        (user_id,),
    )
    return await cursor.fetchall()


async def find_subscriptions(connection: Connection, ids: Collection[str]) -> dict[str, PushSubscription]:
    """Reads those of these subscriptions that are there."""
    cursor = SUBSCRIPTIONS.cursor(connection)
    await cursor.execute(
        f"SELECT {SUBSCRIPTIONS.select} FROM push_subscriptions WHERE id = ANY(%s::uuid[])", (list(ids),)
    )
    return {row.id: row for row in await cursor.fetchall()}


async def get_subscription(connection: Connection, user_id: str, subscription_id: str) -> PushSubscription:
    """Reads one subscription; raises PushSubscriptionNotFound."""
    found = (await find_subscriptions(connection, [subscription_id])).get(subscription_id)
    if found is None or found.user_id != user_id:
        raise PushSubscriptionNotFound(push_subscription_id=subscription_id)
    return found


_DELETE_SUBSCRIPTION = """
    DELETE FROM push_subscriptions WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid RETURNING id"""


async def delete_subscription(tx: Connection, subscription: PushSubscription, side_effects: SideEffects) -> None:
    """Removes a subscription, and what waits to be sent to it; raises WriteConflict when it is gone.

    The user is locked.
    """
    values = {"user_id": subscription.user_id, "id": subscription.id}
    await outbox.write(tx, _DELETE_SUBSCRIPTION, values, side_effects)
    await drop(tx, subscription.user_id, "webpush", subscription.id)


async def insert_webhook(tx: Connection, webhook: Webhook) -> None:
    """Writes a new webhook."""
    await tx.execute(
        f"INSERT INTO webhooks ({WEBHOOKS.names}) VALUES ({WEBHOOKS.values})", WEBHOOKS.parameters(webhook)
    )


async def list_webhooks(connection: Connection, user_id: str) -> list[Webhook]:
    """Reads the webhooks of a user, the oldest first."""
    cursor = WEBHOOKS.cursor(connection)
    await cursor.execute(
        f"SELECT {WEBHOOKS.select} FROM webhooks WHERE user_id = %s::uuid ORDER BY created_at, id", (user_id,)
    )
    return await cursor.fetchall()


async def find_webhooks(connection: Connection, ids: Collection[str]) -> dict[str, Webhook]:
    """Reads those of these webhooks that are there."""
    cursor = WEBHOOKS.cursor(connection)
    await cursor.execute(f"SELECT {WEBHOOKS.select} FROM webhooks WHERE id = ANY(%s::uuid[])", (list(ids),))
    return {row.id: row for row in await cursor.fetchall()}


async def get_webhook(connection: Connection, user_id: str, webhook_id: str) -> Webhook:
    """Reads one webhook; raises WebhookNotFound."""
    found = (await find_webhooks(connection, [webhook_id])).get(webhook_id)
    if found is None or found.user_id != user_id:
        raise WebhookNotFound(webhook_id=webhook_id)
    return found


_SAVE_WEBHOOK = f"""
    UPDATE webhooks SET {WEBHOOKS.assignments}
    WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND version = %(version)s - 1 RETURNING id"""


async def save_webhook(connection: Connection, webhook: Webhook, side_effects: SideEffects) -> None:
    """Writes the next version of a webhook; raises WriteConflict when another write came first."""
    await outbox.write(connection, _SAVE_WEBHOOK, WEBHOOKS.parameters(webhook), side_effects)


async def delete_webhook(tx: Connection, webhook: Webhook, side_effects: SideEffects) -> None:
    """Removes a webhook, and what waits to be sent to it; raises WriteConflict when another write came first.

    The user is locked.
    """
    values = {"user_id": webhook.user_id, "id": webhook.id, "version": webhook.version}
    statement = """
        DELETE FROM webhooks WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND version = %(version)s
        RETURNING id"""
    await outbox.write(tx, statement, values, side_effects)
    await drop(tx, webhook.user_id, "webhook", webhook.id)


async def note_success(connection: Connection, webhook_id: str) -> None:
    """Notes that a webhook works."""
    await connection.execute(
        "UPDATE webhooks SET failing_since = NULL WHERE id = %s::uuid AND failing_since IS NOT NULL", (webhook_id,)
    )


async def lock_webhook(tx: Connection, webhook_id: str) -> Webhook | None:
    """Reads and locks a webhook, if it is there."""
    cursor = WEBHOOKS.cursor(tx)
    await cursor.execute(f"SELECT {WEBHOOKS.select} FROM webhooks WHERE id = %s::uuid FOR UPDATE", (webhook_id,))
    return await cursor.fetchone()


async def note_failure(tx: Connection, webhook: Webhook) -> None:
    """Writes what a failure made of a locked webhook."""
    await tx.execute(
        f"UPDATE webhooks SET {WEBHOOKS.assignments} WHERE id = %(id)s::uuid", WEBHOOKS.parameters(webhook)
    )


async def find_code(connection: Connection, user_id: str) -> PhoneCode | None:
    """Reads the code that a user asked for last."""
    cursor = CODES.cursor(connection)
    await cursor.execute(
        """
        SELECT user_id::text, phone_number, encode(code_hash, 'hex'),
            (extract(epoch FROM expires_at) * 1000000)::bigint, tries, asked_on::text, asked
        FROM phone_codes WHERE user_id = %s::uuid""",
        (user_id,),
    )
    return await cursor.fetchone()


async def put_code(connection: Connection, code: PhoneCode) -> None:
    """Stores the code of a user in place of the one before."""
    await connection.execute(
        """
        INSERT INTO phone_codes (user_id, phone_number, code_hash, expires_at, tries, asked_on, asked)
        VALUES (%(user_id)s::uuid, %(phone_number)s, %(code_hash)s::bytea, %(expires_at)s::timestamptz, %(tries)s,
            %(asked_on)s::date, %(asked)s)
        ON CONFLICT (user_id) DO UPDATE SET phone_number = excluded.phone_number, code_hash = excluded.code_hash,
            expires_at = excluded.expires_at, tries = excluded.tries, asked_on = excluded.asked_on,
            asked = excluded.asked""",
        CODES.parameters(code),
    )


async def set_code(connection: Connection, user_id: str, phone_number: str, code_hash: str, expires_at: int) -> bool:
    """Stores the hash of a code that is being sent; returns whether it was asked for still, for this number.

    Tries of the same code, which is sent again, count; one that was used is not valid again.
    """
    values = PhoneCode(user_id, phone_number, code_hash, expires_at, 0, "", 0)
    cursor = await connection.execute(
        """
        UPDATE phone_codes SET code_hash = %(code_hash)s::bytea, expires_at = %(expires_at)s::timestamptz,
            tries = CASE WHEN code_hash = %(code_hash)s::bytea THEN tries ELSE 0 END
        WHERE user_id = %(user_id)s::uuid AND phone_number = %(phone_number)s
            AND (code_hash IS NOT NULL OR expires_at IS NULL)""",
        CODES.parameters(values),
    )
    return cursor.rowcount > 0


async def count_try(connection: Connection, user_id: str) -> None:
    """Counts a try of a user's code: before it is compared, so that tries at once count too."""
    await connection.execute("UPDATE phone_codes SET tries = tries + 1 WHERE user_id = %s::uuid", (user_id,))


async def void_code(tx: Connection, user_id: str) -> None:
    """Makes the code of a user valid no more."""
    await tx.execute("UPDATE phone_codes SET code_hash = NULL WHERE user_id = %s::uuid", (user_id,))


async def forget_old_secrets(connection: Connection) -> int:
    """Removes secrets that are valid no more; returns how many."""
    cursor = await connection.execute(
        """
        UPDATE webhooks SET old_secret = NULL, old_secret_until = NULL WHERE id IN (
            -- Their users are not locked: it waits for nobody.
            SELECT id FROM webhooks WHERE old_secret_until <= now() FOR UPDATE SKIP LOCKED)"""
    )
    return cursor.rowcount
