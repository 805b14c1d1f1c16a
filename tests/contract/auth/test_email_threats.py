"""What somebody who is not the owner learns or does by the RPCs of mails: nothing."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import psycopg
import pytest
from focusmesh.auth.v1 import email_service_pb2 as pb
from focusmesh.auth.v1 import user_service_pb2 as users_pb
from focusmesh.auth.v1.email_service_pb2_grpc import EmailServiceStub
from focusmesh.auth.v1.session_service_pb2_grpc import SessionServiceStub
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis

from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.auth.cache import MAILS_OF_ACCOUNT
from tests.contract.auth.mailbox import Mailbox
from tests.contract.auth.requests import Account, bearer, login, refresh, refused
from tests.support.errors import ReceivedError
from tests.support.spans import recorded

pytestmark = pytest.mark.asyncio(loop_scope="module")

SignIn = Callable[..., Awaitable[Account]]
Ask = Callable[..., Awaitable[object]]
INVALID, UNAUTHENTICATED, EXHAUSTED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
NEW_PASSWORD = "nine blue staples in a stable"
ELSEWHERE = (("x-envoy-external-address", "198.51.100.7"),)


def use(emails: EmailServiceStub, kind: str, token: str) -> Awaitable[object]:
    """What the token of a mail of this kind is for."""
    if kind == "verify_email":
        return emails.VerifyEmail(pb.VerifyEmailRequest(token=token))
    return emails.ResetPassword(pb.ResetPasswordRequest(token=token, password=NEW_PASSWORD))


def ask(emails: EmailServiceStub, kind: str, email: str, **options: Any) -> Awaitable[object]:
    """Asks for a mail of this kind."""
    if kind == "verify_email":
        return emails.RequestEmailVerification(pb.RequestEmailVerificationRequest(email=email), **options)
    return emails.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email), **options)


KINDS = pytest.mark.parametrize("kind", ["verify_email", "reset_password"])


@pytest.fixture
def holder(signed_in: SignIn, emails: EmailServiceStub, mailbox: Mailbox, kind: str) -> SignIn:
    """An account to which a mail of this kind is sent."""

    async def build() -> Account:
        account = await signed_in()
        if kind == "reset_password":
            await use(emails, "verify_email", await mailbox.token(account.user.id, "verify_email"))
            await ask(emails, kind, account.user.email)
        return account

    return build


async def change(db: Database, statement: str, *values: str) -> None:
    async with db.connection() as connection:
        await connection.execute(statement, values)


@KINDS
async def test_an_expired_a_used_a_voided_and_an_invented_token_look_the_same(
    db: Database, emails: EmailServiceStub, mailbox: Mailbox, holder: SignIn, kind: str
) -> None:
    errors: list[ReceivedError] = []

    async def try_token(token: str) -> None:
        with refused("MAIL_TOKEN_INVALID", INVALID) as error:
            await use(emails, kind, token)
        errors.append(error)

    mail = await mailbox.newest((await holder()).user.id, kind)
    voided, expired = (await mailbox.issue(mail)).token, (await mailbox.issue(mail)).token
    await try_token(voided)
    await change(db, "UPDATE mails SET expires_at = now() - interval '1 microsecond' WHERE id = %s", mail.mail_id)
    await try_token(expired)
    used = (await mailbox.issue(mail)).token
    await use(emails, kind, used)
    await try_token(used)
    closed = await holder()
    of_closed = await mailbox.token(closed.user.id, kind)
    await change(db, "UPDATE users SET is_active = false WHERE id = %s", closed.user.id)
    await try_token(of_closed)
    other_kind = "reset_password" if kind == "verify_email" else "verify_email"
    with refused("MAIL_TOKEN_INVALID", INVALID):
        await use(emails, other_kind, (await mailbox.issue(await mailbox.newest((await holder()).user.id, kind))).token)
    for invented in ("x", "fmm_" + "A" * 43, used[:-1], used + "A", closed.tokens.refresh_token):
        await try_token(invented)
    assert all(error == errors[0] for error in errors)
    assert errors[0].fields == ["token"]


@KINDS
async def test_a_token_lives_until_the_end_that_was_said(
    db: Database, emails: EmailServiceStub, mailbox: Mailbox, holder: SignIn, kind: str
) -> None:
    issued = await mailbox.issue(await mailbox.newest((await holder()).user.id, kind))
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT %s - now()", (issued.expire_time.ToDatetime().astimezone(),))
        [(left,)] = await cursor.fetchall()
    minutes = 24 * 60 if kind == "verify_email" else 30
    assert minutes * 60 - 60 < left.total_seconds() <= minutes * 60


@KINDS
async def test_of_many_who_use_one_token_at_once_exactly_one_does(
    emails: EmailServiceStub, mailbox: Mailbox, holder: SignIn, kind: str
) -> None:
    token = await mailbox.token((await holder()).user.id, kind)
    results = await asyncio.gather(*(use(emails, kind, token) for _ in range(8)), return_exceptions=True)
    codes = [result.code() for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert codes == [INVALID] * 7


@KINDS
async def test_of_the_tokens_of_several_mails_at_once_exactly_one_is_used(
    emails: EmailServiceStub, mailbox: Mailbox, holder: SignIn, kind: str
) -> None:
    account = await holder()
    for _ in range(2):
        await ask(emails, kind, account.user.email)
        await mailbox.answered()
    mails = [mail for mail in await mailbox.announced(account.user.id) if mail.kind == kind]
    tokens = [(await mailbox.issue(mail)).token for mail in mails]
    results = await asyncio.gather(*(use(emails, kind, token) for token in tokens * 4), return_exceptions=True)
    codes = [result.code() for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert codes == [INVALID] * (len(results) - 1)


async def test_of_resets_and_logins_at_once_no_session_of_the_old_password_is_left(
    emails: EmailServiceStub, sessions: SessionServiceStub, mailbox: Mailbox, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in()
    await use(emails, "verify_email", await mailbox.token(account.user.id, "verify_email"))
    await ask(emails, "reset_password", account.user.email)
    token = await mailbox.token(account.user.id, "reset_password")
    begin = [login(sessions, account.user.email) for _ in range(12)]
    await asyncio.gather(*begin[:6], use(emails, "reset_password", token), *begin[6:], return_exceptions=True)
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM refresh_tokens WHERE user_id = %s AND revoked_at IS NULL", (account.user.id,)
        )
        assert await cursor.fetchall() == [(0,)]


async def test_a_reset_ends_thousands_of_sessions_that_a_thief_of_the_password_began(
    emails: EmailServiceStub,
    sessions: SessionServiceStub,
    users: UserServiceStub,
    mailbox: Mailbox,
    signed_in: SignIn,
    db: Database,
) -> None:
    account = await signed_in()
    await use(emails, "verify_email", await mailbox.token(account.user.id, "verify_email"))
    thief = await login(sessions, account.user.email)
    await change(
        db,
        "INSERT INTO refresh_tokens (id, user_id, token_hash, issued_at, expires_at)"
        " SELECT uuidv7(), %s, 'a hash', at, at + interval '30 days'"
        " FROM (SELECT now() - index * interval '10 ms' AS at FROM generate_series(1, 50000) index)",
        account.user.id,
    )
    await ask(emails, "reset_password", account.user.email)
    begun = time.monotonic()
    await use(emails, "reset_password", await mailbox.token(account.user.id, "reset_password"))
    assert time.monotonic() - begun < 5

    async def is_refused() -> bool:
        try:
            await users.GetMe(users_pb.GetMeRequest(), metadata=bearer(thief))
        except grpc.aio.AioRpcError as error:
            return error.code() is UNAUTHENTICATED
        return False

    await until(is_refused, "the tokens of the thief are refused", seconds=2)
    with refused("REFRESH_TOKEN_INVALID", UNAUTHENTICATED):
        await refresh(sessions, thief.refresh_token)


@KINDS
async def test_whether_an_address_has_an_account_shows_in_no_response_and_in_no_work(
    emails: EmailServiceStub, mailbox: Mailbox, holder: SignIn, kind: str, work: list[str]
) -> None:
    known, unknown = (await holder()).user.email, f"{new_id()}@example.com"
    await mailbox.answered()
    done, responses = [], []
    for email in (known, unknown):
        work.clear()
        responses.append(await ask(emails, kind, email))
        done.append(list(work))
    assert responses[0] == responses[1]
    assert done[0] == done[1]
    assert any("INSERT INTO mail_requests" in step for step in done[0])
    assert not any("FROM users" in step for step in done[0])


@KINDS
async def test_mails_to_an_address_are_bounded_whether_it_has_an_account(
    emails: EmailServiceStub, mailbox: Mailbox, signed_in: SignIn, redis: "Redis", kind: str
) -> None:
    account = await signed_in()
    before = len(await mailbox.announced(account.user.id))
    errors: list[ReceivedError] = []
    for email in (account.user.email, f"{new_id()}@example.com"):
        begun = time.monotonic()
        for spelling in (email, email.upper(), email)[: MAILS_OF_ACCOUNT.free]:
            await ask(emails, kind, spelling)
        for options in ({}, {"metadata": ELSEWHERE}):
            with refused("TOO_MANY_ATTEMPTS", EXHAUSTED) as error:
                await ask(emails, kind, email, **options)
            passed = MAILS_OF_ACCOUNT.first_delay - (error.retry_after or 0)
            assert 0 <= passed <= time.monotonic() - begun + 0.01, "the wait began with the last mail"
            errors.append(replace(error, retry_after=None))
    assert all(error == errors[0] for error in errors)
    await mailbox.answered()
    assert len(await mailbox.announced(account.user.id)) - before == MAILS_OF_ACCOUNT.free
    assert not [key async for key in redis.scan_iter("*") if account.user.email in key]


async def test_one_network_cannot_ask_for_mails_to_everybody(emails: EmailServiceStub) -> None:
    with refused("TOO_MANY_ATTEMPTS", EXHAUSTED):
        for _ in range(60):
            await ask(emails, "reset_password", f"{new_id()}@example.com")
    await ask(emails, "reset_password", f"{new_id()}@example.com", metadata=ELSEWHERE)


async def test_guessing_tokens_costs_no_hash_of_a_password(emails: EmailServiceStub, work: list[str]) -> None:
    with refused("MAIL_TOKEN_INVALID", INVALID):
        await use(emails, "reset_password", "fmm_" + "A" * 43)
    assert "hash a password" not in work


async def test_a_token_is_in_no_event_row_log_or_trace(
    db: Database,
    redis: "Redis",
    emails: EmailServiceStub,
    mailbox: Mailbox,
    signed_in: SignIn,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    account = await signed_in()
    tokens = [await mailbox.token(account.user.id, "verify_email")]
    await use(emails, "verify_email", tokens[0])
    await ask(emails, "reset_password", account.user.email)
    tokens.append(await mailbox.token(account.user.id, "reset_password"))
    with refused("PASSWORD_TOO_COMMON", INVALID):
        await emails.ResetPassword(pb.ResetPasswordRequest(token=tokens[1], password="Password123!"))
    await use(emails, "reset_password", tokens[1])
    for token in tokens:
        with refused("MAIL_TOKEN_INVALID", INVALID):
            await use(emails, "reset_password", token)
    finished = [span.to_json() for span in spans.get_finished_spans()]
    assert {"ResetPassword", "IssueMailToken"} <= {
        word for span in finished for word in span.replace('"', "/").split("/")
    }
    logged = [record.getMessage() + str(vars(record)) for record in caplog.records]
    assert logged
    shown = "\n".join([*finished, *logged, *await every_row(db), *await every_value(redis)])
    for secret in (*tokens, NEW_PASSWORD):
        assert secret.removeprefix("fmm_") not in shown
    assert account.user.id in shown


async def every_row(db: Database) -> list[str]:
    """Every row of every table of auth, the bytes of events and stored responses as text."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'auth'")
        tables = [name for (name,) in await cursor.fetchall()]
        assert {"outbox", "mails", "idempotency", "mail_requests"} <= set(tables)
        rows: list[str] = []
        for table in tables:
            cursor = await connection.execute(psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(table)))
            rows.extend(str(row) for row in await cursor.fetchall())
    return rows


async def every_value(redis: "Redis") -> list[str]:
    """Every key that auth has in Redis."""
    return [key async for key in redis.scan_iter("*")]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Every span of the test."""
    with recorded() as exporter:
        yield exporter
