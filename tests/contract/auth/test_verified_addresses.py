"""A server that requires verified addresses: registering shows nobody which addresses it knows."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio
from focusmesh.auth.v1 import email_service_pb2, user_pb2
from focusmesh.auth.v1 import user_service_pb2 as pb
from focusmesh.auth.v1.email_service_pb2_grpc import EmailServiceStub
from focusmesh.auth.v1.session_service_pb2_grpc import SessionServiceStub
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.auth.cache import ACCOUNT
from services.auth.settings import Settings
from tests.contract.auth.mailbox import Mailbox
from tests.contract.auth.requests import PASSWORD, bearer, login, process, refused
from tests.support.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID, UNAUTHENTICATED, EXHAUSTED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
ANOTHER = "nine blue staples in a stable"
Registered = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(auth_settings: Callable[..., Settings]) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that requires verified addresses."""
    async with serving(process(auth_settings(require_verified_email=True))) as channel:
        yield channel


def registration(email: str, **fields: str) -> pb.RegisterRequest:
    return pb.RegisterRequest(**{"email": email, "password": PASSWORD, **fields})  # type: ignore[arg-type]


def an_address() -> str:
    return f"{new_id()}@example.com"


async def id_of(db: Database, email: str) -> str:
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT id::text FROM users WHERE lower(email) = lower(%s)", (email,))
        [(user_id,)] = await cursor.fetchall()
        return str(user_id)


async def verify(emails: EmailServiceStub, mailbox: Mailbox, user_id: str) -> None:
    token = await mailbox.token(user_id, "verify_email")
    await emails.VerifyEmail(email_service_pb2.VerifyEmailRequest(token=token))


@pytest.fixture
def registered(users: UserServiceStub, mailbox: Mailbox, db: Database, valkey: str) -> Registered:
    """Registers an account and waits until it is there; its id."""

    async def build(email: str, **fields: str) -> str:
        await users.Register(registration(email, **fields))
        await mailbox.answered()
        return await id_of(db, email)

    return build


async def test_who_registers_gets_in_by_the_mail(
    users: UserServiceStub,
    sessions: SessionServiceStub,
    emails: EmailServiceStub,
    mailbox: Mailbox,
    registered: Registered,
) -> None:
    email = an_address()
    user_id = await registered(email, name="Ann", time_zone="Asia/Tokyo")
    with refused("CREDENTIALS_WRONG", UNAUTHENTICATED):
        await login(sessions, email)
    await verify(emails, mailbox, user_id)
    tokens = await login(sessions, email)
    user: user_pb2.User = (await users.GetMe(pb.GetMeRequest(), metadata=bearer(tokens))).user
    assert (user.id, user.email, user.name, user.time_zone) == (user_id, email, "Ann", "Asia/Tokyo")
    assert user.email_verified


async def test_who_registers_an_address_learns_nothing_by_signing_in_with_that_password(
    users: UserServiceStub,
    sessions: SessionServiceStub,
    emails: EmailServiceStub,
    mailbox: Mailbox,
    registered: Registered,
) -> None:
    verified, waiting, free = an_address(), an_address(), an_address()
    await verify(emails, mailbox, await registered(verified))
    await registered(waiting)
    answers = []
    for email in (verified, waiting, free):
        await users.Register(registration(email, password=ANOTHER))
        await mailbox.answered()
        for _ in range(ACCOUNT.free + 1):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await login(sessions, email, ANOTHER)
            answers.append((email, error.value.code(), error.value.details()))
    of = [[answer[1:] for answer in answers if answer[0] == email] for email in (verified, waiting, free)]
    assert of[0] == of[1] == of[2]
    assert {code for code, _ in of[0]} == {UNAUTHENTICATED, EXHAUSTED}


async def test_whether_an_address_has_an_account_shows_in_no_response_and_in_no_work(
    users: UserServiceStub, emails: EmailServiceStub, mailbox: Mailbox, registered: Registered, work: list[str]
) -> None:
    verified, waiting, free = an_address(), an_address(), an_address()
    await verify(emails, mailbox, await registered(verified))
    await registered(waiting)
    done, responses = [], []
    for email in (verified, waiting, free):
        work.clear()
        responses.append(await users.Register(registration(email.upper(), password=ANOTHER)))
        done.append(list(work))
    assert responses == [pb.RegisterResponse()] * 3
    assert done[0] == done[1] == done[2]
    assert "hash a password" in done[0]
    assert not any("users" in step for step in done[0])


async def test_an_account_stays_as_it_was_when_its_address_is_registered_again(
    users: UserServiceStub,
    sessions: SessionServiceStub,
    emails: EmailServiceStub,
    mailbox: Mailbox,
    registered: Registered,
) -> None:
    email = an_address()
    user_id = await registered(email, name="Ann")
    assert await registered(email.upper(), name="Mallory", password=ANOTHER) == user_id
    await verify(emails, mailbox, user_id)
    with refused("CREDENTIALS_WRONG", UNAUTHENTICATED):
        await login(sessions, email, ANOTHER)
    user = (await users.GetMe(pb.GetMeRequest(), metadata=bearer(await login(sessions, email)))).user
    assert user.name == "Ann"


async def test_the_owner_of_a_known_address_gets_the_mail_that_helps(
    emails: EmailServiceStub, mailbox: Mailbox, registered: Registered
) -> None:
    email = an_address()
    user_id = await registered(email)
    await registered(email)
    await verify(emails, mailbox, user_id)
    await registered(email)
    assert [mail.kind for mail in await mailbox.announced(user_id)] == ["verify_email"] * 2 + ["reset_password"]


async def test_a_registration_is_published_with_the_trace_of_its_call(
    users: UserServiceStub, db: Database, mailbox: Mailbox, valkey: str
) -> None:
    email, traceparent = an_address(), f"00-{'a' * 32}-{'b' * 16}-01"
    await users.Register(registration(email), metadata=(("traceparent", traceparent),))
    await mailbox.answered()
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT traceparent FROM outbox WHERE key = %s", (await id_of(db, email),))
        traces = [found for (found,) in await cursor.fetchall()]
    assert [trace.split("-")[1] for trace in traces] == ["a" * 32] * 2


async def test_registrations_of_an_address_are_bounded_whether_it_has_an_account(
    users: UserServiceStub, registered: Registered
) -> None:
    known = an_address()
    await registered(known)
    for email, more in ((known, 2), (an_address(), 3)):
        for _ in range(more):
            await users.Register(registration(email))
        with refused("TOO_MANY_ATTEMPTS", EXHAUSTED):
            await users.Register(registration(email))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"password": "Password123!"}, "PASSWORD_TOO_COMMON"), ({"time_zone": "Mars/Olympus"}, "TIME_ZONE_UNKNOWN")],
)
async def test_bad_input_is_refused_at_once(users: UserServiceStub, fields: dict[str, str], reason: str) -> None:
    with refused(reason, INVALID):
        await users.Register(registration(an_address(), **fields))


async def test_a_registration_that_is_sent_again_is_one(
    users: UserServiceStub, mailbox: Mailbox, db: Database, valkey: str
) -> None:
    request = registration(an_address(), request_id=new_id())
    for _ in range(2):
        assert await users.Register(request) == pb.RegisterResponse()
    await mailbox.answered()
    assert len(await mailbox.announced(await id_of(db, request.email))) == 1
