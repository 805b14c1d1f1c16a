"""What is sent by mail: to whom, once, late, again, and not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import grpc
import psycopg
import pytest
from focusmesh.auth.v1 import email_service_pb2, email_service_pb2_grpc
from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences
from google.protobuf.field_mask_pb2 import FieldMask

from harness.http_receiver import Receiver, answers
from harness.notified import browser
from harness.smtp_server import Mail, MailServer
from harness.waiting import until
from mesh.database.pool import Database
from mesh.events.outbox import Event
from mesh.runtime import clock
from mesh.runtime.ids import new_id
from services.notification.main import build
from services.notification.settings import Settings
from tests.contract.notification.people import (
    EMAIL,
    FAILED,
    IN_APP,
    SENT,
    SUPPRESSED,
    WEBPUSH,
    Others,
    Person,
    a_reminder,
    after,
    at,
    messages_of,
)
from tests.support.ports import free_ports
from tests.support.serving import SignerKeys, serving, without_broker
from tests.support.tokens import Signer

Register = Callable[..., Awaitable[Person]]
MASK = FieldMask(paths=["email"])


@pytest.fixture
async def reader(register: Register) -> Person:
    """A user who wants reminders by mail."""
    person = await register(name="Ada", time_zone="Europe/Berlin")
    await person.UpdateNotificationPreferences(update_mask=MASK, email=ChannelPreferences(reminders=True))
    return person


async def test_a_mail_goes_to_the_address_of_the_account(
    reader: Person, others: Others, mail_server: MailServer
) -> None:
    await others.remind(a_reminder(reader.user_id, at=at(0), title="Water the plants"))
    [sent] = await reader.ended(EMAIL)
    assert (sent.state, sent.is_late) == (SENT, False)
    [mail] = mail_server.taken
    assert mail.recipients == ["ada@example.org"]
    assert "Water the plants" in mail.message["Subject"]
    assert sent.message_id in mail.message["Message-ID"]


async def test_a_reminder_that_names_the_channel_needs_no_preference(
    register: Register, mail_server: MailServer
) -> None:
    person = await register()
    await person.CreateReminder(title="Call home", remind_time=after(0), channel=EMAIL)
    [sent] = await person.ended(EMAIL)
    assert sent.state == SENT
    assert len(mail_server.taken) == 1


async def test_nothing_is_sent_to_an_address_that_is_not_verified(register: Register, mail_server: MailServer) -> None:
    person = await register(verified=False)
    await person.CreateReminder(title="Call home", remind_time=after(0), channel=EMAIL)
    [ended] = await person.ended(EMAIL)
    assert (ended.state, ended.reason) == (SUPPRESSED, "EMAIL_NOT_VERIFIED")
    assert not mail_server.taken


@pytest.mark.parametrize("settle_seconds", [2.0])
async def test_after_an_outage_a_user_gets_one_mail_with_a_row_for_each_reminder(
    reader: Person, others: Others, mail_server: MailServer
) -> None:
    """Case D-catch-up-1: the worker was away from three hours ago on."""
    late_by = [10_500, 7_200, 1_800]
    for seconds in late_by:
        await others.remind(a_reminder(reader.user_id, at=at(-seconds), title=f"{seconds} late"))
    sent = await reader.ended(EMAIL, 3)
    assert len(mail_server.taken) == len(messages_of(sent)) == 1
    assert all(each.is_late for each in sent)
    assert [each.late_by_seconds for each in sent] == pytest.approx(late_by, abs=10)
    assert len({each.id for each in sent}) == 3


@pytest.mark.parametrize("settle_seconds", [5.0])
async def test_a_thousand_reminders_of_an_outage_are_one_mail_and_one_event(
    reader: Person, others: Others, mail_server: MailServer, db: Database
) -> None:
    for batch in range(4):
        await others.remind(
            *(a_reminder(reader.user_id, at=at(-7200 - number)) for number in range(batch * 250, batch * 250 + 250))
        )

    async def all_sent() -> bool:
        async with db.connection() as connection:
            cursor = await connection.execute("SELECT count(*) FROM notifications WHERE outcome = 'late'")
            return await cursor.fetchone() == (2000,)

    await until(all_sent, "everything is sent", seconds=30)
    assert len(mail_server.taken) == 1
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM outbox WHERE key = %s", (reader.user_id,))
        assert await cursor.fetchone() == (1,)
    assert (await reader.GetUnreadCount()).unread_count == 1000


async def test_a_reminder_of_more_than_a_day_ago_is_missed_and_the_app_says_so(
    reader: Person, others: Others, mail_server: MailServer
) -> None:
    await others.remind(a_reminder(reader.user_id, at=at(-25 * 3600)))
    [shown] = await reader.shown()
    assert shown.is_missed
    ended = await reader.ended(0, 2)
    assert {each.reason for each in ended} == {"MISSED"}
    assert not mail_server.taken
    reminder = (await reader.GetReminder(reminder_id=shown.reminder_id)).reminder
    assert reminder.error == "MISSED"


async def test_a_reminder_is_missed_when_its_event_is_over(reader: Person, others: Others) -> None:
    await others.remind(a_reminder(reader.user_id, at=at(-3600), end_time=at(-60)))
    [shown] = await reader.shown()
    assert shown.is_missed


async def test_mails_are_sent_once_the_server_is_back_and_other_channels_do_not_wait(
    reader: Person, others: Others, mail_server: MailServer
) -> None:
    mail_server.data_response = "451 4.3.0 try later"
    await others.remind(a_reminder(reader.user_id, at=at(0)))
    await reader.shown()

    async def failed() -> bool:
        return [each.state for each in await reader.deliveries(EMAIL)] == [FAILED]

    await until(failed, "the first attempt has failed")
    mail_server.data_response = "250 2.0.0 queued"

    async def sent() -> bool:
        return [each.state for each in await reader.deliveries(EMAIL)] == [SENT]

    await until(sent, "the mail is sent", seconds=30)
    [row] = await reader.deliveries(EMAIL)
    assert len(mail_server.taken) == 1
    assert [each.is_sent for each in row.attempts] == [True, False]
    assert row.attempts[1].answer.startswith("451")


async def test_a_refused_address_fails_visibly_and_the_next_mail_does_not(
    reader: Person, others: Others, mail_server: MailServer, db: Database
) -> None:
    mail_server.refused["ada@example.org"] = "550 5.1.1 no such user"
    await others.remind(a_reminder(reader.user_id, at=at(0)))
    [ended] = await reader.ended(EMAIL)
    assert (ended.state, ended.HasField("next_attempt_time")) == (FAILED, False)
    assert ended.reason.startswith("550")
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox WHERE key = %s", (reader.user_id,))
        assert [b"delivery-failed" in value for (value,) in await cursor.fetchall()].count(True) == 1
    mail_server.refused.clear()
    await others.remind(a_reminder(reader.user_id, at=at(0)))
    assert [each.state for each in await reader.ended(EMAIL, 2)] == [FAILED, SENT]


@pytest.mark.parametrize("lease_seconds", [2])
async def test_a_mail_whose_process_died_is_sent_again_with_the_same_id(
    settings: Settings, others: Others, mail_server: MailServer, register: Register, signer: Signer, db: Database
) -> None:
    """Case D-once-1: killed after it has sent and before it has noted that."""
    person = await register()
    await person.UpdateNotificationPreferences(update_mask=MASK, email=ChannelPreferences(reminders=True))
    mail_server.held.clear()
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await asyncio.wait_for(mail_server.arrived.wait(), 10)
    async with db.connection() as connection:  # what a process that died never writes
        await connection.execute("UPDATE notifications SET attempts = attempts + 1 WHERE channel = 'email'")
    mail_server.held.set()

    async def sent_again() -> bool:
        return len(mail_server.taken) == 2

    await until(sent_again, "the lease is over, and the mail is sent again", seconds=20)
    [ended] = await person.ended(EMAIL)
    assert len({mail.message["Message-ID"] for mail in mail_server.taken}) == 1
    assert ended.message_id in str(mail_server.taken[0].message["Message-ID"])


async def test_the_result_of_a_mail_is_noted_although_the_database_goes_away_meanwhile(
    reader: Person, others: Others, mail_server: MailServer, postgres: str
) -> None:
    mail_server.held.clear()
    await others.remind(a_reminder(reader.user_id, at=at(0)))
    await asyncio.wait_for(mail_server.arrived.wait(), 10)
    with psycopg.connect(postgres, autocommit=True) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    mail_server.held.set()

    async def noted() -> bool:
        with suppress(grpc.aio.AioRpcError):
            return [each.state for each in await reader.deliveries(EMAIL)] == [SENT]
        return False

    await until(noted, "the result is noted", seconds=30)
    assert len(mail_server.taken) == 1


async def test_three_replicas_send_each_mail_once(
    settings: Settings, others: Others, mail_server: MailServer, register: Register, signer: Signer
) -> None:
    people = [await register(f"user{number}@example.org") for number in range(10)]
    replicas = [replace(settings, listen=f"127.0.0.1:{port}") for port in free_ports(2)]
    async with (
        serving(without_broker(build(replicas[0], SignerKeys(signer)))),
        serving(without_broker(build(replicas[1], SignerKeys(signer)))),
    ):
        for person in people:
            await person.CreateReminder(title="Call home", remind_time=after(1), channel=EMAIL)
        for person in people:
            assert [each.attempt_count for each in await person.ended(EMAIL)] == [1]
    addresses = sorted(mail.recipients[0] for mail in mail_server.taken)
    assert addresses == sorted(f"user{number}@example.org" for number in range(10))


async def test_a_mail_of_the_account_has_its_token_and_is_stored_without(
    register: Register,
    others: Others,
    mail_server: MailServer,
    auth_channel: grpc.aio.Channel,
    service_url: Callable[[str], str],
    db: Database,
) -> None:
    person = await register()
    emails = email_service_pb2_grpc.EmailServiceStub(auth_channel)
    await emails.RequestPasswordReset(email_service_pb2.RequestPasswordResetRequest(email="ada@example.org"))
    await others.relay_mails(service_url("auth"))

    def with_link() -> list[Mail]:
        return [mail for mail in mail_server.taken if "password" in mail.message["Subject"]]

    await until(with_link, "the mail has come")
    [mail] = with_link()
    text = mail.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    token = max(text.split(), key=len)
    async with db.connection() as connection:
        for table in ("notifications", "delivery_attempts", "outbox"):
            cursor = await connection.execute(f"SELECT row_to_json(stored)::text FROM {table} AS stored")
            assert not [row for (row,) in await cursor.fetchall() if token in row], table
    response = await emails.ResetPassword(
        email_service_pb2.ResetPasswordRequest(token=token, password="another horse and 3 staples")
    )
    assert response is not None
    assert (await person.deliveries(IN_APP)) == []


async def test_a_mail_that_nobody_asked_for_any_more_is_not_sent(
    register: Register, others: Others, mail_server: MailServer
) -> None:
    person = await register()
    mail_id = new_id()
    event = Event(
        id=new_id(),
        type="mail-requested",
        source="auth",
        topics=("user-events",),
        user_id=person.user_id,
        subject=mail_id,
        subject_name="mail_id",
        version=1,
        time=clock.now(),
        payload={"mail_id": mail_id, "kind": "reset_password"},
    )
    await others.publish("user-events", event)
    [ended] = await person.ended(EMAIL)
    assert (ended.state, ended.reason) == (SUPPRESSED, "MAIL_WITHDRAWN")
    assert not mail_server.taken


async def test_what_needs_auth_waits_while_it_is_away_and_nothing_else(
    settings: Settings, others: Others, signer: Signer, receiver: Receiver
) -> None:
    away = replace(settings, call_targets="auth=127.0.0.1:1", listen=f"127.0.0.1:{free_ports(1)[0]}")
    receiver.respond = answers(201)
    async with serving(without_broker(build(away, SignerKeys(signer)))) as channel:
        unknown, known = Person(channel, signer), Person(channel, signer)
        await others.locate(known.user_id)
        for person in (unknown, known):
            await person.RegisterPushSubscription(**browser(f"{receiver.url}/{person.user_id}"))
            await person.UpdateNotificationPreferences(update_mask=MASK, email=ChannelPreferences(reminders=True))
            await others.remind(a_reminder(person.user_id, at=at(0)))
            await person.shown()
        [pushed] = await known.ended(WEBPUSH)
        assert pushed.state == SENT
        for channel_of_unknown in (EMAIL, WEBPUSH):
            [waiting] = await unknown.deliveries(channel_of_unknown)
            assert (waiting.attempt_count, waiting.HasField("next_attempt_time")) == (0, True)
