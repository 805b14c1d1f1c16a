"""ContactService: the service that sends asks where, and for the token in the mail."""

from collections.abc import Awaitable, Callable

import grpc
import pytest
from focusmesh.auth.v1 import contact_service_pb2 as pb
from focusmesh.auth.v1 import user_pb2
from focusmesh.auth.v1.contact_service_pb2_grpc import ContactServiceStub

from mesh.database.pool import Database
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from tests.contract.auth.mailbox import Announced, Mailbox
from tests.contract.auth.requests import Account, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

Register = Callable[..., Awaitable[user_pb2.User]]
NOT_FOUND, INVALID, DENIED = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
)
HOUR = 3600 * SECOND


async def a_mail(mailbox: Mailbox, user: user_pb2.User) -> Announced:
    return await mailbox.newest(user.id, "verify_email")


async def change(db: Database, sql: str, **values: str) -> None:
    async with db.connection() as connection:
        await connection.execute(sql, values)


async def test_a_contact_is_where_the_user_is_reached_now(a_user: Register, mailbox: Mailbox) -> None:
    user = await a_user(email=f"Ann.{new_id()}@example.com", name="Ann", time_zone="Asia/Tokyo")
    expected = pb.Contact(email=user.email, email_verified=False, name="Ann", time_zone="Asia/Tokyo")
    assert await mailbox.contact(user.id) == expected
    assert not (await mailbox.contact((await a_user()).id)).HasField("name")


async def test_a_closed_account_and_an_unknown_one_cannot_be_reached(
    db: Database, a_user: Register, mailbox: Mailbox
) -> None:
    user, unknown = await a_user(), new_id()
    await change(db, "UPDATE users SET deleted_at = now() WHERE id = %(id)s", id=user.id)
    for user_id in (user.id, unknown):
        with refused("USER_NOT_FOUND", NOT_FOUND, user_id=user_id):
            await mailbox.contact(user_id)


async def test_a_token_has_256_bits_and_an_end(a_user: Register, mailbox: Mailbox) -> None:
    issued = await mailbox.issue(await a_mail(mailbox, await a_user()))
    assert issued.kind == pb.MAIL_KIND_VERIFY_EMAIL
    assert (issued.token[:4], len(issued.token)) == ("fmm_", 4 + 43)
    assert abs(issued.expire_time.ToMicroseconds() - clock.now() - 24 * HOUR) < 60 * SECOND


async def test_no_two_tokens_are_the_same(a_user: Register, mailbox: Mailbox) -> None:
    mail = await a_mail(mailbox, await a_user())
    assert len({(await mailbox.issue(mail)).token for _ in range(20)}) == 20


async def test_only_the_hash_of_a_token_is_stored(db: Database, a_user: Register, mailbox: Mailbox) -> None:
    mail = await a_mail(mailbox, await a_user())
    token = (await mailbox.issue(mail)).token
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT mails::text, token_hash FROM mails WHERE id = %s", (mail.mail_id,))
        [(row, token_hash)] = await cursor.fetchall()
    assert token.removeprefix("fmm_") not in row
    assert len(bytes.fromhex(token_hash)) == 32


async def test_a_mail_of_another_user_has_no_token(a_user: Register, mailbox: Mailbox) -> None:
    mail = await a_mail(mailbox, await a_user())
    foreign = mail._replace(user_id=(await a_user()).id)
    with refused("MAIL_NOT_FOUND", NOT_FOUND, mail_id=mail.mail_id):
        await mailbox.issue(foreign)


@pytest.mark.parametrize(
    "change_of",
    [
        "UPDATE mails SET requested_at = now() - interval '25 hours' WHERE id = %(mail)s",
        "UPDATE mails SET closed_at = now() WHERE id = %(mail)s",
        "DELETE FROM mails WHERE id = %(mail)s",
        "UPDATE users SET is_active = false WHERE id = %(user)s",
        "UPDATE users SET deleted_at = now() WHERE id = %(user)s",
    ],
    ids=["too old", "closed", "unknown", "of a deactivated user", "of a deleted user"],
)
async def test_a_mail_that_must_not_be_sent_has_no_token(
    db: Database, a_user: Register, mailbox: Mailbox, change_of: str
) -> None:
    mail = await a_mail(mailbox, await a_user())
    await change(db, change_of, mail=mail.mail_id, user=mail.user_id)
    with refused("MAIL_NOT_FOUND", NOT_FOUND, mail_id=mail.mail_id):
        await mailbox.issue(mail)


@pytest.mark.parametrize("field", ["user_id", "mail_id", "request_id"])
async def test_a_request_names_user_and_mail_by_ids(channel: grpc.aio.Channel, mailbox: Mailbox, field: str) -> None:
    request = pb.IssueMailTokenRequest(**{"user_id": new_id(), "mail_id": new_id(), field: "nobody"})
    with refused("INVALID_REQUEST", INVALID, "focusmesh") as error:
        await ContactServiceStub(channel).IssueMailToken(request, metadata=mailbox.bearer())
    assert error.fields == [field]


async def test_no_user_reaches_addresses_or_tokens(
    channel: grpc.aio.Channel, mailbox: Mailbox, signed_in: Callable[..., Awaitable[Account]]
) -> None:
    account, contacts = await signed_in(), ContactServiceStub(channel)
    mail = await a_mail(mailbox, account.user)
    with refused("INTERNAL_ONLY", DENIED, "focusmesh"):
        await contacts.GetContact(pb.GetContactRequest(user_id=account.user.id), metadata=account.bearer)
    request = pb.IssueMailTokenRequest(user_id=account.user.id, mail_id=mail.mail_id)
    with refused("INTERNAL_ONLY", DENIED, "focusmesh"):
        await contacts.IssueMailToken(request, metadata=account.bearer)
