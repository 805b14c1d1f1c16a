"""WebhookService, as a caller sees it, and what webhooks receive."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from standardwebhooks import Webhook, WebhookVerificationError

from harness.http_receiver import Received, Receiver, answers, hangs
from harness.waiting import until
from mesh.database.pool import Database
from services.notification.model import MOST_REPEATS
from services.notification.rules.targets import MOST_WEBHOOKS
from tests.contract.notification.people import FAILED, SENT, WEBHOOK, Others, Person, a_reminder, after, at
from tests.support.errors import refused


def verified(secret: str, request: Received) -> Any:
    """The body of a message whose signature the library accepts."""
    return Webhook(secret).verify(request.body, dict(request.headers))


async def test_a_webhook_receives_the_event_that_caused_it_signed(
    person: Person, others: Others, receiver: Receiver
) -> None:
    created = await person.CreateWebhook(url=f"{receiver.url}/hook", description="My script")
    event = a_reminder(person.user_id, at=at(0))
    await others.remind(event)
    [sent] = await person.ended(WEBHOOK)
    [request] = receiver.received
    assert verified(created.secret, request)["id"] == event.id
    assert request.headers["webhook-id"] == sent.message_id
    assert (sent.state, sent.target_id, sent.attempts[0].answer) == (SENT, created.webhook.id, "HTTP 204")


async def test_each_reminder_is_a_message_of_its_own(person: Person, others: Others, receiver: Receiver) -> None:
    created = await person.CreateWebhook(url=receiver.url)
    sent = [a_reminder(person.user_id, at=at(-number)) for number in range(6)]
    await others.remind(*sent)
    await person.ended(WEBHOOK, 6)
    assert {verified(created.secret, request)["id"] for request in receiver.received} == {event.id for event in sent}


async def test_a_reminder_of_the_users_own_is_an_event_too(person: Person, receiver: Receiver) -> None:
    created = await person.CreateWebhook(url=receiver.url)
    reminder = (await person.CreateReminder(title="Call home", remind_time=after(0))).reminder
    await person.ended(WEBHOOK)
    body = verified(created.secret, receiver.received[0])
    assert (body["type"], body["subject"], body["data"]["payload"]["title"]) == (
        "reminder-fired",
        reminder.id,
        "Call home",
    )


async def test_two_secrets_sign_while_one_replaces_the_other(
    person: Person, others: Others, receiver: Receiver
) -> None:
    created = await person.CreateWebhook(url=receiver.url)
    rotated = await person.RotateWebhookSecret(webhook_id=created.webhook.id, overlap_hours=1)
    assert rotated.webhook.HasField("old_secret_until_time")
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await person.ended(WEBHOOK)
    for secret in (created.secret, rotated.secret):
        verified(secret, receiver.received[0])

    last = await person.RotateWebhookSecret(webhook_id=created.webhook.id, overlap_hours=0)
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await person.ended(WEBHOOK, 2)
    verified(last.secret, receiver.received[1])
    for secret in (created.secret, rotated.secret):
        with pytest.raises(WebhookVerificationError):
            verified(secret, receiver.received[1])


async def test_a_secret_is_shown_once_and_stored_encrypted(person: Person, receiver: Receiver, db: Database) -> None:
    created = await person.CreateWebhook(url=receiver.url)
    assert created.secret not in str(await person.ListWebhooks())
    plain = Webhook(created.secret)._whsecret
    async with db.connection() as connection:
        for table in ("webhooks", "idempotency", "outbox"):
            cursor = await connection.execute(f"SELECT row_to_json(stored)::text FROM {table} AS stored")
            for (row,) in await cursor.fetchall():
                assert plain.hex() not in row
                assert created.secret.removeprefix("whsec_") not in row


async def test_a_failed_message_is_sent_again_with_the_same_id(
    person: Person, others: Others, receiver: Receiver
) -> None:
    receiver.respond = answers(500, b"try again")
    webhook = (await person.CreateWebhook(url=receiver.url)).webhook
    await others.remind(a_reminder(person.user_id, at=at(0)))

    async def failed() -> bool:
        return [each.state for each in await person.deliveries(WEBHOOK)] == [FAILED]

    await until(failed, "the first attempt has failed")
    [row] = await person.deliveries(WEBHOOK)
    assert (row.reason, row.HasField("next_attempt_time")) == ("HTTP 500: try again", True)
    [listed] = (await person.ListWebhooks()).webhooks
    assert listed.HasField("failing_since_time")

    receiver.respond = answers(204)

    async def sent() -> bool:
        return [each.state for each in await person.deliveries(WEBHOOK)] == [SENT]

    await until(sent, "the second attempt has succeeded", seconds=30)
    [row] = await person.deliveries(WEBHOOK)
    assert [(each.number, each.is_sent) for each in row.attempts] == [(2, True), (1, False)]
    assert {request.headers["webhook-id"] for request in receiver.received} == {row.message_id}
    [listed] = (await person.ListWebhooks()).webhooks
    assert (listed.id, listed.HasField("failing_since_time")) == (webhook.id, False)


async def test_a_webhook_that_is_gone_is_disabled_until_its_user_enables_it(
    person: Person, others: Others, receiver: Receiver
) -> None:
    receiver.respond = answers(410)
    webhook = (await person.CreateWebhook(url=receiver.url)).webhook
    await others.remind(a_reminder(person.user_id, at=at(0)))
    [ended] = await person.ended(WEBHOOK)

    async def disabled() -> bool:
        return not (await person.ListWebhooks()).webhooks[0].is_enabled

    await until(disabled, "the webhook is disabled")
    assert (await person.ListWebhooks()).webhooks[0].disabled_reason == "HTTP 410"
    with refused("WEBHOOK_DISABLED", webhook_id=webhook.id):
        await person.RedeliverWebhook(delivery_id=ended.id)

    receiver.respond = answers(204)
    mask = FieldMask(paths=["is_enabled"])
    enabled = (await person.UpdateWebhook(webhook_id=webhook.id, update_mask=mask, is_enabled=True)).webhook
    assert (enabled.is_enabled, enabled.disabled_reason) == (True, "")
    again = (await person.RedeliverWebhook(delivery_id=ended.id)).delivery
    assert again.message_id == ended.message_id

    async def sent() -> bool:
        return [each.state for each in await person.deliveries(WEBHOOK)] == [SENT]

    await until(sent, "the message is delivered again")
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


async def test_a_receiver_that_hangs_delays_no_other_channel_and_no_other_user(
    person: Person, others: Others, receiver: Receiver, provider: Receiver
) -> None:
    receiver.respond = hangs
    await person.CreateWebhook(url=receiver.url)
    await others.remind(*(a_reminder(person.user_id, at=at(-number)) for number in range(50)))
    await person.shown(50)
    other = person.another()
    await other.CreateWebhook(url=provider.url)
    await others.remind(a_reminder(other.user_id, at=at(0)))
    [sent] = await other.ended(WEBHOOK)
    assert (sent.state, sent.late_by_seconds) == (SENT, 0)
    assert receiver.connections <= 4


async def test_a_delivery_that_waits_and_another_users_are_not_redelivered(
    person: Person, others: Others, receiver: Receiver
) -> None:
    receiver.respond = hangs
    await person.CreateWebhook(url=receiver.url)
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await until(lambda: receiver.received, "it is being sent")
    [row] = await person.deliveries(WEBHOOK)
    with refused("DELIVERY_PENDING", delivery_id=row.id):
        await person.RedeliverWebhook(delivery_id=row.id)
    with refused("DELIVERY_NOT_FOUND", delivery_id=row.id):
        await person.another().RedeliverWebhook(delivery_id=row.id)


async def test_what_a_user_sends_again_and_snoozes_is_bounded_in_a_day(
    person: Person, others: Others, receiver: Receiver, db: Database
) -> None:
    async def repeated(times: int, days_ago: int) -> None:
        async with db.connection() as connection:
            await connection.execute(
                "UPDATE recipients SET repeats = %s, repeated_on = (now() AT TIME ZONE 'UTC')::date - %s::integer",
                (times, days_ago),
            )

    await person.CreateWebhook(url=receiver.url)
    await others.remind(a_reminder(person.user_id, at=at(0)))
    [sent] = await person.ended(WEBHOOK)
    reminder = (await person.CreateReminder(title="Call home", remind_time=after(3600))).reminder

    await repeated(MOST_REPEATS - 1, 0)
    await person.RedeliverWebhook(delivery_id=sent.id)
    before = await person.ended(WEBHOOK)
    with refused("TOO_MANY_REPEATS", limit=str(MOST_REPEATS)):
        await person.RedeliverWebhook(delivery_id=sent.id)
    with refused("TOO_MANY_REPEATS", limit=str(MOST_REPEATS)):
        await person.SnoozeReminder(reminder_id=reminder.id, minutes=60)
    assert await person.deliveries(WEBHOOK) == before
    assert (await person.GetReminder(reminder_id=reminder.id)).reminder == reminder

    await repeated(MOST_REPEATS, 1)
    await person.SnoozeReminder(reminder_id=reminder.id, minutes=60)
    await person.RedeliverWebhook(delivery_id=sent.id)


async def test_what_waits_is_not_sent_to_a_webhook_that_was_deleted(
    person: Person, others: Others, receiver: Receiver
) -> None:
    receiver.respond = answers(500)
    webhook = (await person.CreateWebhook(url=receiver.url)).webhook
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await until(lambda: receiver.received, "the first attempt is made")
    await person.DeleteWebhook(webhook_id=webhook.id)

    async def over() -> bool:
        [row] = await person.deliveries(WEBHOOK)
        return bool(row.reason == "TARGET_REMOVED")

    await until(over, "what waits is withdrawn", seconds=30)
    with refused("WEBHOOK_NOT_FOUND", webhook_id=webhook.id):
        await person.DeleteWebhook(webhook_id=webhook.id)


@pytest.mark.parametrize("url", ["http://example.org:x/", "https://169.254.169.254/", "https://[::1]/", "mailto:a@b.c"])
async def test_an_address_that_cannot_be_called_is_refused(person: Person, receiver: Receiver, url: str) -> None:
    with refused("WEBHOOK_URL_INVALID") as error:
        await person.CreateWebhook(url=url)
    assert error.fields == ["url"]
    webhook = (await person.CreateWebhook(url=receiver.url)).webhook
    with refused("WEBHOOK_URL_INVALID"):
        await person.UpdateWebhook(webhook_id=webhook.id, update_mask=FieldMask(paths=["url"]), url=url)


async def test_a_webhook_is_its_owners_alone_and_bounded_in_number(person: Person, receiver: Receiver) -> None:
    for _ in range(MOST_WEBHOOKS):
        webhook = (await person.CreateWebhook(url=receiver.url)).webhook
    with refused("TOO_MANY_WEBHOOKS", limit=str(MOST_WEBHOOKS)):
        await person.CreateWebhook(url=receiver.url)
    other = person.another()
    assert not (await other.ListWebhooks()).webhooks
    for method in ("DeleteWebhook", "RotateWebhookSecret"):
        with refused("WEBHOOK_NOT_FOUND", webhook_id=webhook.id):
            await getattr(other, method)(webhook_id=webhook.id)
