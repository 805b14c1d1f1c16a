"""PreferenceService: another service reads a user's preferences, as itself and never as a user."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from focusmesh.auth.v1 import preference_pb2, user_pb2
from focusmesh.auth.v1 import preference_service_pb2 as pb
from focusmesh.auth.v1 import user_service_pb2 as users_pb
from focusmesh.auth.v1.preference_service_pb2_grpc import (
    PreferenceServiceServicer,
    PreferenceServiceStub,
    add_PreferenceServiceServicer_to_server,
)
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.wrappers_pb2 import StringValue

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.auth.settings import Settings
from tests.contract.auth import planner as planners
from tests.contract.auth.planner import Caller, calling, planner
from tests.contract.auth.requests import Account, process, refused
from tests.support.certificates import Authority
from tests.support.ports import free_ports
from tests.support.serving import serving, settings_for
from tests.support.tokens import Signer, service_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

SettingsBuilder = Callable[..., Settings]
Register = Callable[..., Awaitable[user_pb2.User]]
SignIn = Callable[..., Awaitable[Account]]
DENIED, UNAUTHENTICATED, INVALID, NOT_FOUND, UNAVAILABLE, DEADLINE, INTERNAL = (
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
)


@pytest.fixture(scope="module")
def pomodoro(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """May call."""
    return Caller("pomodoro", tmp_path_factory.mktemp("callers"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """Auth knows its key, and no policy names it."""
    return Caller("realtime", tmp_path_factory.mktemp("callers"))


@pytest.fixture(scope="module")
def known_to_auth(auth_settings: SettingsBuilder, pomodoro: Caller, stranger: Caller) -> Settings:
    """Settings of auth with its callers' keys."""
    planners.declare()
    keys = ";".join(f"{caller.name}={caller.public_file}" for caller in (pomodoro, stranger))
    return auth_settings(caller_keys=keys)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(known_to_auth: Settings) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to auth."""
    async with serving(process(known_to_auth)) as channel:
        yield channel


@pytest.fixture
def preferences(channel: grpc.aio.Channel) -> PreferenceServiceStub:
    return PreferenceServiceStub(channel)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def of(user_id: str) -> pb.GetUserPreferencesRequest:
    return pb.GetUserPreferencesRequest(user_id=user_id)


async def test_a_caller_reads_the_preferences_of_a_user(
    preferences: PreferenceServiceStub, users: UserServiceStub, signed_in: SignIn, pomodoro: Caller
) -> None:
    account = await signed_in(time_zone="Asia/Kathmandu", day_start_minutes=240)
    token = bearer(service_token("pomodoro", "auth", pomodoro.key))
    first = (await preferences.GetUserPreferences(of(account.user.id), metadata=token)).preferences
    assert first == preference_pb2.UserPreferences(
        time_zone="Asia/Kathmandu",
        day_start_minutes=240,
        default_pomodoro_minutes=25,
        default_short_break_minutes=5,
        default_long_break_minutes=15,
        long_break_interval=4,
        auto_start_breaks=True,
        auto_start_focus=False,
        week_start=user_pb2.WEEK_START_MONDAY,
    )
    mask = FieldMask(paths=["default_pomodoro_minutes", "long_break_interval", "auto_start_breaks"])
    await users.UpdateSettings(
        users_pb.UpdateSettingsRequest(
            update_mask=mask, default_pomodoro_minutes=50, long_break_interval=2, auto_start_breaks=False
        ),
        metadata=account.bearer,
    )
    changed = (await preferences.GetUserPreferences(of(account.user.id), metadata=token)).preferences
    assert (changed.default_pomodoro_minutes, changed.long_break_interval, changed.auto_start_breaks) == (50, 2, False)


async def test_nobody_is_found_who_does_not_exist_or_is_closed(
    preferences: PreferenceServiceStub, a_user: Register, db: Database, pomodoro: Caller
) -> None:
    closed = (await a_user()).id
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET deleted_at = now() WHERE id = %s", (closed,))
    for user_id in (closed, new_id()):
        with refused("USER_NOT_FOUND", NOT_FOUND, user_id=user_id):
            await preferences.GetUserPreferences(
                of(user_id), metadata=bearer(service_token("pomodoro", "auth", pomodoro.key))
            )


async def test_a_user_is_named_by_an_id(preferences: PreferenceServiceStub, pomodoro: Caller) -> None:
    for user_id in ("", "ann"):
        with refused("INVALID_REQUEST", INVALID, "focusmesh") as error:
            await preferences.GetUserPreferences(
                of(user_id), metadata=bearer(service_token("pomodoro", "auth", pomodoro.key))
            )
        assert error.fields == ["user_id"]


async def test_a_service_that_the_policy_does_not_name_is_refused(
    preferences: PreferenceServiceStub, stranger: Caller
) -> None:
    with refused("CALLER_NOT_ALLOWED", DENIED, "focusmesh", service="realtime"):
        await preferences.GetUserPreferences(
            of(new_id()), metadata=bearer(service_token("realtime", "auth", stranger.key))
        )


async def test_a_service_whose_key_auth_does_not_have_is_refused(preferences: PreferenceServiceStub) -> None:
    forged = service_token("pomodoro", "auth", Ed25519PrivateKey.generate())
    with refused("SERVICE_TOKEN_INVALID", UNAUTHENTICATED, "focusmesh"):
        await preferences.GetUserPreferences(of(new_id()), metadata=bearer(forged))


async def test_a_token_for_another_service_is_refused(preferences: PreferenceServiceStub, pomodoro: Caller) -> None:
    replayed = service_token("pomodoro", "todo", pomodoro.key)
    with refused("SERVICE_TOKEN_INVALID", UNAUTHENTICATED, "focusmesh"):
        await preferences.GetUserPreferences(of(new_id()), metadata=bearer(replayed))


async def test_a_user_never_passes_for_a_service(preferences: PreferenceServiceStub, signed_in: SignIn) -> None:
    account = await signed_in()
    with refused("INTERNAL_ONLY", DENIED, "focusmesh"):
        await preferences.GetUserPreferences(of(account.user.id), metadata=account.bearer)
    with refused("TOKEN_MISSING", UNAUTHENTICATED, "focusmesh"):
        await preferences.GetUserPreferences(of(account.user.id))


async def test_a_service_never_passes_for_a_user(users: UserServiceStub, a_user: Register, pomodoro: Caller) -> None:
    user = await a_user()
    for claims in ({}, {"sub": user.id, "sid": new_id(), "aud": "focusmesh", "scope": "profile:read"}):
        token = service_token("pomodoro", "auth", pomodoro.key, **claims)
        with refused("TOKEN_INVALID", UNAUTHENTICATED, "focusmesh"):
            await users.GetMe(users_pb.GetMeRequest(), metadata=bearer(token))


async def test_a_service_calls_auth_for_its_user(
    known_to_auth: Settings,
    channel: grpc.aio.Channel,
    a_user: Register,
    valkey: str,
    signer: Signer,
    pomodoro: Caller,
) -> None:
    user = await a_user(time_zone="Europe/Berlin")
    async with planner(calling(settings_for(redis_url=valkey), pomodoro, known_to_auth.listen), signer) as plan:
        found = await plan(StringValue(), metadata=bearer(signer.token(sub=user.id)), timeout=5)
        assert found.time_zone == "Europe/Berlin"
        unknown = new_id()
        with refused("USER_NOT_FOUND", NOT_FOUND, user_id=unknown):
            await plan(StringValue(), metadata=bearer(signer.token(sub=unknown)), timeout=5)


async def test_a_caller_that_is_refused_hides_it_from_its_users(
    known_to_auth: Settings, channel: grpc.aio.Channel, valkey: str, signer: Signer, stranger: Caller
) -> None:
    settings = calling(settings_for(redis_url=valkey), stranger, known_to_auth.listen)
    async with planner(settings, signer, "realtime") as plan:
        with refused("INTERNAL", INTERNAL, "focusmesh") as error:
            await plan(StringValue(), metadata=bearer(signer.token()), timeout=5)
    assert "realtime" not in error.message
    assert set(error.metadata) == {"error_id"}


async def test_while_auth_is_away_its_callers_say_so_at_once_and_serve_on(
    valkey: str, signer: Signer, pomodoro: Caller
) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    async with planner(calling(settings_for(redis_url=valkey), pomodoro, nowhere), signer) as plan:
        started = time.monotonic()
        with refused("UNAVAILABLE", UNAVAILABLE, "focusmesh"):
            await plan(StringValue(), metadata=bearer(signer.token()), timeout=10)
        assert time.monotonic() - started < 2


async def test_a_call_to_a_silent_callee_ends_before_the_deadline_of_the_users_call(
    valkey: str, signer: Signer, pomodoro: Caller
) -> None:
    class Silent(PreferenceServiceServicer):
        async def GetUserPreferences(self, _request: Any, context: Any) -> pb.GetUserPreferencesResponse:
            remaining.append(context.time_remaining())
            await asyncio.Event().wait()
            raise AssertionError

    remaining: list[float] = []
    server = grpc.aio.server()
    add_PreferenceServiceServicer_to_server(Silent(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settings = calling(settings_for(redis_url=valkey), pomodoro, f"127.0.0.1:{port}")
    async with planner(settings, signer) as plan:
        with refused("DEADLINE_EXCEEDED", DEADLINE, "focusmesh"):
            await plan(StringValue(), metadata=bearer(signer.token()), timeout=1)
    await server.stop(None)
    assert len(remaining) == 1
    assert remaining[0] < 0.95


async def test_with_certificates_both_sides_show_one_and_the_call_is_signed_as_well(
    known_to_auth: Settings, a_user: Register, valkey: str, signer: Signer, pomodoro: Caller, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)

    def certified(settings: Settings, name: str) -> Settings:
        made = authority.issue(name, "127.0.0.1")
        return replace(
            settings,
            listen=f"127.0.0.1:{free_ports(1)[0]}",
            tls_certificate_file=str(made.certificate),
            tls_key_file=str(made.key),
            tls_client_ca_file=str(made.authority),
        )

    user, auth = await a_user(), certified(known_to_auth, "auth")
    plain = calling(settings_for(redis_url=valkey), pomodoro, auth.listen)
    async with serving(process(auth)):
        async with planner(certified(plain, "pomodoro"), signer) as plan:
            found = await plan(StringValue(), metadata=bearer(signer.token(sub=user.id)), timeout=5)
            assert found.time_zone == "UTC"
        async with planner(plain, signer) as plan:
            with refused("UNAVAILABLE", UNAVAILABLE, "focusmesh"):
                await plan(StringValue(), metadata=bearer(signer.token(sub=user.id)), timeout=5)
