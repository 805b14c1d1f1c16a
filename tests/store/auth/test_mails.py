"""Mails and what is asked for in the database: each is taken, sent and used once, however many ask at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from psycopg import Rollback

from harness.waiting import until
from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import SECOND, now
from mesh.runtime.ids import new_id
from services.auth.errors import EmailTaken, MailNotFound, MailTokenInvalid, RefreshTokenInvalid
from services.auth.jobs import MailPurger, MailRequester, RegistrationCompleter
from services.auth.model import SESSION_LIFE, Mail, MailKind, MailRequest, Registration, User
from services.auth.rules import addresses, sessions, users
from services.auth.store import accounts, logins, mails
from tests.support.databases import lock_waits

UserBuilder = Callable[..., Awaitable[User]]
MailBuilder = Callable[..., Awaitable[Mail]]
NOTHING = SideEffects((), None, "")


@pytest.fixture
def a_mail(db: Database, a_user: UserBuilder) -> MailBuilder:
    """Builds a mail, to a new user unless another is given."""

    async def build(user: User | None = None, *, kind: MailKind = MailKind.RESET_PASSWORD, at: int = 0) -> Mail:
        mail = Mail(new_id(), (user or await a_user()).id, kind, at or now())
        async with db.transaction() as tx:
            await mails.insert_mail(tx, mail, NOTHING)
        return mail

    return build


def a_request(email: str, kind: MailKind = MailKind.RESET_PASSWORD) -> MailRequest:
    return MailRequest(new_id(), email, kind, now(), "")


def a_registration(email: str) -> Registration:
    return Registration(users.register(new_id(), email, "Ann", "", 0, now=now()), "a hash", "")


async def test_a_mail_comes_back_as_it_was_written(connection: Connection, a_mail: MailBuilder) -> None:
    mail = await a_mail()
    assert await mails.get_mail(connection, mail.user_id, mail.id, mail.requested_at) == mail
    with pytest.raises(MailNotFound):
        await mails.get_mail(connection, mail.user_id, mail.id, mail.requested_at + 1)


async def test_a_token_is_valid_until_its_end_and_then_not(connection: Connection, a_mail: MailBuilder) -> None:
    mail, end = await a_mail(), now()
    await mails.set_token(connection, mail, "a hash", end)
    kind = MailKind(mail.kind)
    assert await mails.require_token(connection, "a hash", kind, end - 1) == mail.user_id
    with pytest.raises(MailTokenInvalid):
        await mails.require_token(connection, "a hash", kind, end)
    with pytest.raises(MailTokenInvalid):
        await mails.use_token(connection, "a hash", kind, end)
    assert await mails.use_token(connection, "a hash", kind, end - 1) == mail.user_id


async def test_of_20_who_use_one_token_at_once_one_does(db: Database, a_mail: MailBuilder) -> None:
    mail = await a_mail()
    async with db.connection() as connection:
        await mails.set_token(connection, mail, "a hash", now() + SECOND * 60)

    async def use() -> str:
        async with db.transaction() as tx:
            return await mails.use_token(tx, "a hash", MailKind(mail.kind), now())

    used = await asyncio.gather(*(use() for _ in range(20)), return_exceptions=True)
    assert [each for each in used if not isinstance(each, MailTokenInvalid)] == [mail.user_id]


async def test_a_token_that_was_used_is_good_again_when_the_change_fails(
    db: Database, connection: Connection, a_mail: MailBuilder
) -> None:
    mail = await a_mail()
    await mails.set_token(connection, mail, "a hash", now() + SECOND * 60)
    async with db.transaction() as tx:
        await mails.use_token(tx, "a hash", MailKind(mail.kind), now())
        raise Rollback
    assert await mails.use_token(connection, "a hash", MailKind(mail.kind), now()) == mail.user_id


async def test_closing_mails_leaves_those_of_other_kinds_and_users(
    connection: Connection, a_user: UserBuilder, a_mail: MailBuilder
) -> None:
    user = await a_user()
    closed = [await a_mail(user), await a_mail(user)]
    left = [await a_mail(user, kind=MailKind.VERIFY_EMAIL), await a_mail()]
    await mails.close_mails(connection, user.id, MailKind.RESET_PASSWORD, now())
    for mail in left:
        assert await mails.get_mail(connection, mail.user_id, mail.id, 0) == mail
    for mail in closed:
        with pytest.raises(MailNotFound):
            await mails.get_mail(connection, mail.user_id, mail.id, 0)
        with pytest.raises(MailNotFound):
            await mails.set_token(connection, mail, "a hash", now())


async def test_a_login_that_checked_the_former_password_waits_for_the_new_one_and_begins_nothing(
    db: Database, a_user: UserBuilder
) -> None:
    user = await a_user()
    session = sessions.begin(new_id(), user.id, now=now())

    async def begin() -> bool:
        async with db.connection() as connection:
            return await logins.insert_session(connection, session, "a token's hash", 1)

    async with db.transaction() as tx:
        await accounts.set_password(tx, user.id, "another hash", NOTHING)
        beginning = asyncio.create_task(begin())
        await somebody_waits(db)
    assert not await beginning


async def test_a_new_password_waits_for_a_login_that_began_before_and_ends_its_session(
    db: Database, a_user: UserBuilder
) -> None:
    user = await a_user()
    session = sessions.begin(new_id(), user.id, now=now())

    async def set_password() -> None:
        async with db.transaction() as tx:
            await accounts.set_password(tx, user.id, "another hash", NOTHING)
            await logins.end_sessions_issued_since(tx, user.id, session.issued_at, now())

    async with db.transaction() as tx:
        assert await logins.insert_session(tx, session, "a token's hash", 1)
        setting = asyncio.create_task(set_password())
        await somebody_waits(db)
    await setting
    async with db.connection() as connection:
        assert await ended(connection, session.id)
        with pytest.raises(RefreshTokenInvalid):
            await logins.get_session(connection, session.id)


async def somebody_waits(db: Database) -> None:
    """Returns when a statement of the database waits for a lock."""
    await until(lambda: lock_waits(db), "a statement waits for a lock", seconds=5)


async def test_the_same_password_hashed_anew_does_not_keep_logins_out(
    connection: Connection, a_user: UserBuilder
) -> None:
    user = await a_user()
    await accounts.replace_password_hash(connection, user.id, "a hash", "the same with other parameters")
    assert await logins.insert_session(connection, sessions.begin(new_id(), user.id, now=now()), "hash", 1)


async def test_sessions_are_listed_by_the_age_of_their_newest_token(
    connection: Connection, a_session: Callable[[], Awaitable[Any]]
) -> None:
    session = await a_session()
    for since, found in ((session.issued_at, [session.id]), (session.issued_at + 1, [])):
        assert await logins.list_sessions_issued_since(connection, session.user_id, since, 9) == found
    assert await logins.list_sessions_issued_since(connection, session.user_id, 0, 0) == []
    await logins.end_sessions_issued_since(connection, session.user_id, session.issued_at + 1, now())
    assert not await ended(connection, session.id)
    await logins.end_sessions_issued_since(connection, session.user_id, session.issued_at, now())
    assert await ended(connection, session.id)


async def test_a_new_password_ends_sessions_however_old_they_are(
    connection: Connection, a_session: Callable[[], Awaitable[Any]]
) -> None:
    session, other = await a_session(), await a_session()
    await accounts.set_password(connection, session.user_id, "another hash", NOTHING)
    for each, moves in ((session, False), (other, True)):
        at = now()
        moved = await logins.exchange_token(connection, each.id, "first", "second", now=at, expires=at + SESSION_LIFE)
        assert (moved is not None) is moves
    with pytest.raises(RefreshTokenInvalid):
        await logins.get_session(connection, session.id)


async def ended(connection: Connection, session_id: str) -> bool:
    cursor = await connection.execute("SELECT revoked_at FROM refresh_tokens WHERE id = %s", (session_id,))
    [(revoked_at,)] = await cursor.fetchall()
    return revoked_at is not None


async def test_many_replicas_answer_every_request_once(
    db: Database, a_user: UserBuilder, count: Callable[[str], Awaitable[int]]
) -> None:
    known = [await a_user() for _ in range(10)]
    before = await count("outbox")
    async with db.connection() as connection:
        for user in known:
            await mails.insert_request(connection, a_request(user.email.upper()), NOTHING)
            await mails.insert_request(connection, a_request(f"{new_id()}@example.com"), NOTHING)
    requesters = [MailRequester(db, now) for _ in range(4)]

    async def run(requester: MailRequester) -> int:
        done = 0
        while await requester.run_once():
            done += 1
        return done

    assert sum(await asyncio.gather(*map(run, requesters))) == 20
    assert await count("mail_requests") == 0
    assert await count("outbox") == before + 10


async def test_of_registrations_of_one_address_the_first_becomes_the_account(
    db: Database, count: Callable[[str], Awaitable[int]]
) -> None:
    first = a_registration(f"ann.{new_id()}@example.com")
    again = a_registration(first.user.email.upper())
    async with db.connection() as connection:
        for registration in (first, again):
            await accounts.insert_registration(connection, registration, NOTHING)
    completer, requester = RegistrationCompleter(db, now), MailRequester(db, now)
    assert [await completer.run_once() for _ in range(3)] == [1, 1, 0]
    async with db.connection() as connection:
        assert await accounts.get_user(connection, first.user.id) == first.user
        found = await accounts.find_credentials(connection, first.user.email)
    assert found is not None
    assert (found.user_id, found.password_hash) == (first.user.id, "a hash")
    assert await requester.run_once() == 1
    assert await count("mails") == 2


async def test_an_address_that_is_taken_leaves_the_transaction_usable(db: Database, a_user: UserBuilder) -> None:
    user = await a_user()
    async with db.transaction() as tx:
        again = users.register(new_id(), user.email, "", "", 0, now=now())
        mail = addresses.first_mail(new_id(), again)
        with pytest.raises(EmailTaken):
            await accounts.insert_account(tx, again, "a hash", mail, NOTHING)
        assert await accounts.get_user(tx, user.id) == user


async def test_mails_are_kept_until_no_token_of_theirs_can_be_valid_and_then_removed(
    db: Database, a_mail: MailBuilder, count: Callable[[str], Awaitable[int]]
) -> None:
    mail = await a_mail()
    at = mail.requested_at + addresses.KEPT
    await MailPurger(db, lambda: at).run_once()
    async with db.connection() as connection:
        assert await mails.get_mail(connection, mail.user_id, mail.id, 0) == mail
    assert await MailPurger(db, lambda: at + 1).run_once() == 1
    assert await count("mails") == 0


async def test_the_mails_of_a_user_go_with_the_account(
    connection: Connection, a_mail: MailBuilder, count: Callable[[str], Awaitable[int]]
) -> None:
    mail = await a_mail()
    await connection.execute("DELETE FROM users WHERE id = %s", (mail.user_id,))
    assert await count("mails") == 0
