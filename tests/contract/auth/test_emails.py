"""EmailService: users verify their address and set a new password, by the tokens of mails."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest
from focusmesh.auth.v1 import email_service_pb2 as pb
from focusmesh.auth.v1 import session_pb2, user_pb2
from focusmesh.auth.v1 import user_service_pb2 as users_pb
from focusmesh.auth.v1.email_service_pb2_grpc import EmailServiceStub
from focusmesh.auth.v1.session_service_pb2_grpc import SessionServiceStub
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.auth.settings import Settings
from tests.contract.auth.mailbox import Announced, Mailbox
from tests.contract.auth.requests import NOWHERE, Account, bearer, login, refresh, refused, without_redis

pytestmark = pytest.mark.asyncio(loop_scope="module")

Register = Callable[..., Awaitable[user_pb2.User]]
SignIn = Callable[..., Awaitable[Account]]
INVALID, UNAUTHENTICATED, FAILED, UNAVAILABLE = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNAVAILABLE,
)
NEW_PASSWORD = "nine blue staples in a stable"


def verification(token: str, request_id: str = "") -> pb.VerifyEmailRequest:
    return pb.VerifyEmailRequest(token=token, request_id=request_id)


def reset(token: str, password: str = NEW_PASSWORD, request_id: str = "") -> pb.ResetPasswordRequest:
    return pb.ResetPasswordRequest(token=token, password=password, request_id=request_id)


def forgotten(email: str) -> pb.RequestPasswordResetRequest:
    return pb.RequestPasswordResetRequest(email=email)


def unverified(email: str) -> pb.RequestEmailVerificationRequest:
    return pb.RequestEmailVerificationRequest(email=email)


async def me(users: UserServiceStub, tokens: session_pb2.Tokens) -> user_pb2.User:
    return (await users.GetMe(users_pb.GetMeRequest(), metadata=bearer(tokens))).user


async def kinds(mailbox: Mailbox, user_id: str) -> list[str]:
    await mailbox.answered()
    return [mail.kind for mail in await mailbox.announced(user_id)]


@pytest.fixture
def verified(signed_in: SignIn, emails: EmailServiceStub, mailbox: Mailbox) -> SignIn:
    """Registers an account, begins a session of it and verifies its address."""

    async def build(**fields: str) -> Account:
        account = await signed_in(**fields)
        await emails.VerifyEmail(verification(await mailbox.token(account.user.id, "verify_email")))
        return account

    return build


@pytest.fixture
def reset_token(emails: EmailServiceStub, mailbox: Mailbox) -> Callable[[Account], Awaitable[str]]:
    """Asks for a mail and returns the token in it."""

    async def build(account: Account) -> str:
        await emails.RequestPasswordReset(forgotten(account.user.email))
        return await mailbox.token(account.user.id, "reset_password")

    return build


async def test_registering_asks_for_a_mail_by_itself_with_ids_only(
    db: Database, a_user: Register, mailbox: Mailbox
) -> None:
    user = await a_user(name="Ann")
    [mail] = await mailbox.announced(user.id)
    assert mail.kind == "verify_email"
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT convert_from(value, 'utf8')::jsonb -> 'data', version FROM outbox"
            " WHERE key = %s AND value LIKE '%%mail-requested%%'::bytea",
            (user.id,),
        )
        [(data, version)] = await cursor.fetchall()
    assert (version, data["mail_id"]) == (1, mail.mail_id)
    assert data["payload"] == {"mail_id": mail.mail_id, "kind": "verify_email"}


async def test_a_new_address_is_not_verified_until_its_mail_was_read(
    users: UserServiceStub, emails: EmailServiceStub, mailbox: Mailbox, signed_in: SignIn
) -> None:
    account = await signed_in()
    assert not (await me(users, account.tokens)).email_verified
    await emails.VerifyEmail(verification(await mailbox.token(account.user.id, "verify_email")))
    user = await me(users, account.tokens)
    assert user.email_verified
    assert user.etag != account.user.etag
    assert (await mailbox.contact(user.id)).email_verified


async def test_a_verification_is_published_once(
    db: Database, emails: EmailServiceStub, mailbox: Mailbox, signed_in: SignIn
) -> None:
    account = await signed_in()
    first, second = [
        await mailbox.issue(await mailbox.newest(account.user.id, "verify_email")),
        await mailbox.issue(await another_mail(emails, mailbox, account)),
    ]
    await emails.VerifyEmail(verification(second.token))
    with refused("MAIL_TOKEN_INVALID", INVALID):
        await emails.VerifyEmail(verification(first.token))
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT version FROM outbox WHERE key = %s AND value LIKE '%%user-updated%%'::bytea", (account.user.id,)
        )
        assert await cursor.fetchall() == [(2,)]


async def another_mail(emails: EmailServiceStub, mailbox: Mailbox, account: Account) -> Announced:
    await emails.RequestEmailVerification(unverified(account.user.email))
    return await mailbox.newest(account.user.id, "verify_email")


async def test_a_mail_is_sent_again_until_the_address_is_verified(
    emails: EmailServiceStub, mailbox: Mailbox, verified: SignIn, signed_in: SignIn
) -> None:
    waiting, done = await signed_in(), await verified()
    for account in (waiting, done):
        await emails.RequestEmailVerification(unverified(account.user.email.upper()))
    assert await kinds(mailbox, waiting.user.id) == ["verify_email"] * 2
    assert await kinds(mailbox, done.user.id) == ["verify_email"]


async def test_a_forgotten_password_is_replaced_and_every_session_ends(
    users: UserServiceStub,
    sessions: SessionServiceStub,
    emails: EmailServiceStub,
    verified: SignIn,
    reset_token: Callable[[Account], Awaitable[str]],
) -> None:
    account, bystander = await verified(), await verified()
    also = await login(sessions, account.user.email)
    await emails.ResetPassword(reset(await reset_token(account)))
    for tokens in (account.tokens, also):
        with refused("TOKEN_REVOKED", UNAUTHENTICATED, "focusmesh"):
            await refused_soon(users, tokens)
        with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
            await refresh(sessions, tokens.refresh_token)
    with refused("CREDENTIALS_WRONG", UNAUTHENTICATED):
        await login(sessions, account.user.email)
    assert (await me(users, await login(sessions, account.user.email, NEW_PASSWORD))).id == account.user.id
    assert (await me(users, bystander.tokens)).id == bystander.user.id


async def refused_soon(users: UserServiceStub, tokens: session_pb2.Tokens) -> None:
    """Calls until the end of the session is known, which takes less than two seconds."""
    async with asyncio.timeout(2):
        while True:
            await me(users, tokens)
            await asyncio.sleep(0.02)


async def test_a_session_that_begins_right_after_the_reset_lives(
    users: UserServiceStub,
    sessions: SessionServiceStub,
    emails: EmailServiceStub,
    verified: SignIn,
    reset_token: Callable[[Account], Awaitable[str]],
) -> None:
    account = await verified()
    await emails.ResetPassword(reset(await reset_token(account)))
    tokens = await login(sessions, account.user.email, NEW_PASSWORD)
    for _ in range(10):
        assert (await me(users, tokens)).id == account.user.id
    assert (await refresh(sessions, tokens.refresh_token)).access_token


async def test_a_reset_voids_every_other_reset_of_the_user_sent_or_not(
    emails: EmailServiceStub,
    mailbox: Mailbox,
    verified: SignIn,
    reset_token: Callable[[Account], Awaitable[str]],
) -> None:
    account = await verified()
    sent, used = await reset_token(account), await reset_token(account)
    await emails.RequestPasswordReset(forgotten(account.user.email))
    waiting = await mailbox.newest(account.user.id, "reset_password")
    await emails.ResetPassword(reset(used))
    with refused("MAIL_TOKEN_INVALID", INVALID):
        await emails.ResetPassword(reset(sent))
    with refused("MAIL_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        await mailbox.issue(waiting)


async def test_nothing_but_verification_is_sent_to_an_unverified_address(
    emails: EmailServiceStub, mailbox: Mailbox, signed_in: SignIn
) -> None:
    account = await signed_in()
    await emails.RequestPasswordReset(forgotten(account.user.email))
    assert await kinds(mailbox, account.user.id) == ["verify_email"] * 2


async def test_a_closed_account_gets_no_mail(
    db: Database, emails: EmailServiceStub, mailbox: Mailbox, verified: SignIn
) -> None:
    account = await verified()
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET is_active = false WHERE id = %s", (account.user.id,))
    await emails.RequestPasswordReset(forgotten(account.user.email))
    assert await kinds(mailbox, account.user.id) == ["verify_email"]


async def test_a_common_password_is_refused_and_the_token_can_still_be_used(
    emails: EmailServiceStub, verified: SignIn, reset_token: Callable[[Account], Awaitable[str]]
) -> None:
    token = await reset_token(await verified())
    with refused("PASSWORD_TOO_COMMON", INVALID) as error:
        await emails.ResetPassword(reset(token, "Password123!"))
    assert error.fields == ["password"]
    await emails.ResetPassword(reset(token))


async def test_a_call_that_is_sent_again_gets_the_stored_response(
    emails: EmailServiceStub,
    mailbox: Mailbox,
    signed_in: SignIn,
    reset_token: Callable[[Account], Awaitable[str]],
) -> None:
    account = await signed_in()
    proof = verification(await mailbox.token(account.user.id, "verify_email"), new_id())
    for _ in range(2):
        assert await emails.VerifyEmail(proof) == pb.VerifyEmailResponse()
    change = reset(await reset_token(account), request_id=new_id())
    for _ in range(2):
        assert await emails.ResetPassword(change) == pb.ResetPasswordResponse()


async def test_a_request_that_is_sent_again_asks_for_one_mail(
    emails: EmailServiceStub, mailbox: Mailbox, verified: SignIn
) -> None:
    account = await verified()
    request = pb.RequestPasswordResetRequest(email=account.user.email, request_id=new_id())
    for _ in range(2):
        await emails.RequestPasswordReset(request)
    assert await kinds(mailbox, account.user.id) == ["verify_email", "reset_password"]
    request.email = f"{new_id()}@example.com"
    with refused("REQUEST_ID_REUSED", FAILED, "focusmesh"):
        await emails.RequestPasswordReset(request)


async def test_without_redis_no_mail_is_asked_for_and_no_password_set_and_the_token_stays_good(
    auth_settings: Callable[..., Settings],
    emails: EmailServiceStub,
    sessions: SessionServiceStub,
    verified: SignIn,
    reset_token: Callable[[Account], Awaitable[str]],
) -> None:
    account = await verified()
    token = await reset_token(account)
    async with without_redis(auth_settings(redis_url=NOWHERE)) as channel:
        there = EmailServiceStub(channel)
        with refused("UNAVAILABLE", UNAVAILABLE, "focusmesh"):
            await there.RequestPasswordReset(forgotten(account.user.email))
        with refused("UNAVAILABLE", UNAVAILABLE, "focusmesh"):
            await there.ResetPassword(reset(token))
    assert (await login(sessions, account.user.email)).access_token
    await emails.ResetPassword(reset(token))
