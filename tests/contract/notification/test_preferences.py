"""NotificationPreferenceService, as a caller sees it."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pytest
from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences, QuietHours
from google.protobuf.field_mask_pb2 import FieldMask

from harness.http_receiver import Receiver, answers
from harness.smtp_server import MailServer
from harness.waiting import until
from tests.contract.notification.people import EMAIL, PENDING, Others, Person, a_reminder, at, messages_of
from tests.support.errors import refused

BERLIN = ZoneInfo("Europe/Berlin")
ON = ChannelPreferences(reminders=True)
NUMBER = "+491701234567"


def quiet(begins: timedelta, ends: timedelta, zone: ZoneInfo = BERLIN) -> QuietHours:
    """Quiet hours, relative to the present minute on the clock of a zone."""
    now = datetime.now(zone).replace(tzinfo=None)
    first, last = (now + begins, now + ends)
    return QuietHours(from_minutes=first.hour * 60 + first.minute, to_minutes=last.hour * 60 + last.minute)


async def test_a_new_user_is_reminded_in_the_app_by_push_and_by_webhook(person: Person) -> None:
    preferences = (await person.GetNotificationPreferences()).preferences
    wanted = {name: getattr(preferences, name) for name in ("in_app", "email", "webpush", "sms", "webhook")}
    assert {name for name, each in wanted.items() if each.reminders} == {"in_app", "webpush", "webhook"}
    assert not any(each.updates for each in wanted.values())
    assert not preferences.HasField("quiet_hours")


async def test_an_update_changes_what_its_mask_names_and_clears_what_it_leaves_out(person: Person) -> None:
    mask = FieldMask(paths=["email", "quiet_hours"])
    hours = QuietHours(from_minutes=22 * 60, to_minutes=7 * 60)
    changed = (await person.UpdateNotificationPreferences(update_mask=mask, email=ON, quiet_hours=hours)).preferences
    assert changed == (await person.GetNotificationPreferences()).preferences
    assert (changed.email, changed.quiet_hours) == (ON, hours)
    cleared = (await person.UpdateNotificationPreferences(update_mask=mask, etag=changed.etag)).preferences
    assert not cleared.email.reminders
    assert not cleared.HasField("quiet_hours")
    with refused("VERSION_CONFLICT"):
        await person.UpdateNotificationPreferences(update_mask=mask, etag=changed.etag)


async def test_a_field_outside_of_the_mask_and_empty_quiet_hours_are_refused(person: Person) -> None:
    with refused("FIELD_NOT_IN_MASK", field="email"):
        await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["sms"]), sms=ON, email=ON)
    with refused("QUIET_HOURS_EMPTY"):
        hours = QuietHours(from_minutes=60, to_minutes=60)
        await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["quiet_hours"]), quiet_hours=hours)
    with refused("INVALID_REQUEST") as error:
        hours = QuietHours(from_minutes=1440, to_minutes=60)
        await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["quiet_hours"]), quiet_hours=hours)
    assert error.fields == ["quiet_hours.from_minutes"]


async def test_mails_wait_for_the_end_of_quiet_hours_and_come_as_one(
    register: Callable[..., Awaitable[Person]], others: Others, mail_server: MailServer
) -> None:
    person = await register(time_zone="Europe/Berlin")
    mask, hours = FieldMask(paths=["email", "quiet_hours"]), quiet(timedelta(hours=-1), timedelta(hours=2))
    await person.UpdateNotificationPreferences(update_mask=mask, email=ON, quiet_hours=hours)
    for number in range(3):
        await others.remind(a_reminder(person.user_id, at=at(-number), title=f"Number {number}"))
    await person.shown(3)

    async def deferred() -> bool:
        return all(each.HasField("deferred_time") for each in await person.deliveries(EMAIL))

    await until(deferred, "the mails are deferred")
    waiting = await person.deliveries(EMAIL)
    assert {each.state for each in waiting} == {PENDING}
    [ends] = {each.deferred_time.ToDatetime(BERLIN) for each in waiting}
    assert ends.astimezone(BERLIN).hour * 60 + ends.astimezone(BERLIN).minute == hours.to_minutes
    assert not mail_server.taken

    await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["quiet_hours"]))
    sent = await person.ended(EMAIL, 3)
    assert len(mail_server.taken) == len(messages_of(sent)) == 1
    assert not any(each.is_late for each in sent)


async def test_a_channel_that_is_turned_off_meanwhile_is_not_used(
    register: Callable[..., Awaitable[Person]], others: Others, mail_server: MailServer
) -> None:
    person = await register(time_zone="Europe/Berlin")
    hours = quiet(timedelta(hours=-1), timedelta(hours=2))
    mask = FieldMask(paths=["email", "quiet_hours"])
    await person.UpdateNotificationPreferences(update_mask=mask, email=ON, quiet_hours=hours)
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await person.shown()
    await person.UpdateNotificationPreferences(update_mask=mask)
    [ended] = await person.ended(EMAIL)
    assert ended.reason == "CHANNEL_OFF"
    assert not mail_server.taken


async def code_for(person: Person, provider: Receiver, number: str = NUMBER) -> str:
    """Asks for a code, and reads it from the SMS."""
    before = len(provider.received)
    assert not (await person.VerifyPhone(phone_number=number)).is_verified
    await until(lambda: len(provider.received) > before, "the code has come")
    message = orjson.loads(provider.received[-1].body)
    assert message["to"] == number
    return "".join(filter(str.isdigit, message["text"]))[:6]


@pytest.fixture
async def known(register: Callable[..., Awaitable[Person]]) -> Person:
    """A user whom auth knows."""
    return await register()


async def test_a_number_is_verified_by_the_code_that_was_sent_to_it(known: Person, provider: Receiver) -> None:
    code = await code_for(known, provider)
    with refused("CODE_INVALID"):
        await known.VerifyPhone(phone_number="+491709999999", code=code)
    assert (await known.VerifyPhone(phone_number=NUMBER, code=code)).is_verified
    assert (await known.GetNotificationPreferences()).preferences.phone_number == NUMBER
    with refused("CODE_INVALID"):
        await known.VerifyPhone(phone_number=NUMBER, code=code)


async def test_a_code_is_tried_five_times(known: Person, provider: Receiver) -> None:
    code = await code_for(known, provider)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    for _ in range(5):
        with refused("CODE_INVALID"):
            await known.VerifyPhone(phone_number=NUMBER, code=wrong)
    with refused("CODE_INVALID"):
        await known.VerifyPhone(phone_number=NUMBER, code=code)


async def test_a_newer_code_voids_the_one_before_and_five_are_sent_a_day(known: Person, provider: Receiver) -> None:
    codes = [await code_for(known, provider) for _ in range(5)]
    with refused("TOO_MANY_CODES", limit="5"):
        await known.VerifyPhone(phone_number=NUMBER)
    if codes[0] != codes[-1]:
        with refused("CODE_INVALID"):
            await known.VerifyPhone(phone_number=NUMBER, code=codes[0])
    assert (await known.VerifyPhone(phone_number=NUMBER, code=codes[-1])).is_verified


async def test_a_code_is_stored_nowhere(known: Person, provider: Receiver, db: object) -> None:
    code = await code_for(known, provider)
    async with db.connection() as connection:  # type: ignore[attr-defined]
        for table in ("notifications", "phone_codes", "delivery_attempts", "outbox", "idempotency"):
            cursor = await connection.execute(f"SELECT row_to_json(stored)::text FROM {table} AS stored")
            assert not [row for (row,) in await cursor.fetchall() if code in row.replace(NUMBER, "")], table


async def test_a_repeated_sms_has_another_code_and_the_same_key(known: Person, provider: Receiver) -> None:
    provider.respond = answers(503)
    await known.VerifyPhone(phone_number=NUMBER)
    await until(lambda: provider.received, "the first attempt is made")
    provider.respond = answers(204)
    await until(lambda: len(provider.received) > 1, "the second attempt is made", seconds=30)
    first, second = provider.received[:2]
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
