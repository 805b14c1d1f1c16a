"""The calendar service with todo beside it, each on a database of its own; auth is away, and zones are known."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from mesh.database.pool import Database
from mesh.runtime.settings import ServiceSettings
from services.calendar.main import build
from services.calendar.settings import Settings
from services.todo import main as todo
from services.todo.settings import Settings as TodoSettings
from stack.keys import Keys
from stack.layout import State
from tests.contract.calendar.person import Person
from tests.support import calendars
from tests.support.databases import ServiceUrl, opened
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys of the services that call one another."""
    return Keys(State(tmp_path))


@pytest.fixture
def todo_settings(service_url: ServiceUrl, valkey: str, keys: Keys) -> ServiceSettings:
    """Settings of todo, which the calendar calls."""
    return settings_for(
        database_url=service_url("todo"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("todo")),
        call_targets="auth=127.0.0.1:1",
        caller_keys=f"calendar={keys.public_service_key('calendar')}",
    )


@pytest.fixture
def pomodoro_settings(service_url: ServiceUrl, valkey: str, keys: Keys) -> ServiceSettings:
    """Settings of pomodoro, which the calendar calls; it is away unless a test starts it."""
    return settings_for(
        database_url=service_url("pomodoro"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("pomodoro")),
        call_targets="auth=127.0.0.1:1;todo=127.0.0.1:1",
        caller_keys=f"calendar={keys.public_service_key('calendar')}",
    )


@pytest.fixture
def calendar_settings(
    service_url: ServiceUrl,
    valkey: str,
    keys: Keys,
    todo_settings: ServiceSettings,
    pomodoro_settings: ServiceSettings,
) -> Settings:
    """Settings of the service."""
    return calendars.settings_for(
        database_url=service_url("calendar"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("calendar")),
        call_targets=f"auth=127.0.0.1:1;todo={todo_settings.listen};pomodoro={pomodoro_settings.listen}",
    )


@pytest.fixture
async def todo_channel(todo_settings: ServiceSettings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to todo."""
    async with serving(without_broker(todo.build(TodoSettings(**vars(todo_settings)), SignerKeys(signer)))) as channel:
        yield channel


@pytest.fixture
async def channel(calendar_settings: Settings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service."""
    async with serving(without_broker(build(calendar_settings, SignerKeys(signer)))) as channel:
        yield channel


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The schema as the service sees it."""
    async with opened(service_url("calendar"), "calendar") as database:
        yield database


@pytest.fixture
async def person(channel: grpc.aio.Channel, signer: Signer, db: Database) -> Person:
    """Somebody in Zurich."""
    return await Person.living_in("Europe/Zurich", channel, signer, db)
