"""What a new session takes from the settings of its user, which auth has."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest
from focusmesh.auth.v1 import user_service_pb2, user_service_pb2_grpc

from services.auth import main as auth
from services.auth.settings import Settings as AuthSettings
from services.pomodoro.main import build
from services.pomodoro.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.contract.pomodoro.devices import Device
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture
async def auth_settings(service_url: ServiceUrl, valkey: str, tmp_path: Path) -> AuthSettings:
    """Settings of auth, which knows pomodoro as a caller."""
    keys = Keys(State(tmp_path))
    common = settings_for(
        database_url=service_url("auth"),
        redis_url=valkey,
        caller_keys=f"pomodoro={keys.public_service_key('pomodoro')}",
    )
    return AuthSettings(**vars(common), signing_key_file=str(keys.signing_key()), refresh_hash_key="of these tests")


@pytest.fixture
async def user_id(auth_settings: AuthSettings, service_url: ServiceUrl) -> AsyncIterator[str]:
    """A user whose settings are no defaults; auth serves as long as the test runs."""
    async with serving(without_broker(auth.build(auth_settings))) as channel:
        users = user_service_pb2_grpc.UserServiceStub(channel)
        request = user_service_pb2.RegisterRequest(email="someone@example.com", password="a horse and 2 staples")
        user = (await users.Register(request)).user
        with psycopg.connect(service_url("auth")) as connection:
            connection.execute("UPDATE user_settings SET default_pomodoro_minutes = 50, auto_start_breaks = false")
        yield user.id


@pytest.fixture
async def channel(
    auth_settings: AuthSettings, service_url: ServiceUrl, valkey: str, tmp_path: Path, signer: Signer
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to pomodoro, which calls auth."""
    common = settings_for(
        database_url=service_url("pomodoro"),
        redis_url=valkey,
        service_key_file=str(Keys(State(tmp_path)).service_key("pomodoro")),
        call_targets=f"auth={auth_settings.listen};todo=127.0.0.1:1",
    )
    async with serving(without_broker(build(Settings(**vars(common)), SignerKeys(signer)))) as channel:
        yield channel


async def test_a_session_is_planned_as_its_user_set_it(channel: grpc.aio.Channel, signer: Signer, user_id: str) -> None:
    response = await Device(channel, signer, user_id).CreateFocusSession(short_break_minutes=7)
    session = response.focus_session
    assert not response.defaults_used
    assert (session.focus_minutes, session.short_break_minutes) == (50, 7)
    assert (session.long_break_interval, session.auto_start_breaks, session.auto_start_focus) == (4, False, False)
