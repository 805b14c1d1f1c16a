"""The calendar on the real broker; auth, todo and pomodoro are away."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mesh.database.pool import Database
from stack.keys import Keys
from stack.layout import State
from tests.events.calendar.replicas import Replicas
from tests.support.databases import ServiceUrl, opened
from tests.support.tokens import Signer


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The schema of the calendar as it sees it."""
    async with opened(service_url("calendar"), "calendar") as database:
        yield database


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys of the services."""
    return Keys(State(tmp_path))


@pytest.fixture
async def replicas(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer, keys: Keys
) -> AsyncIterator[Replicas]:
    """They are stopped at the end."""
    async with AsyncExitStack() as stack:
        made = Replicas(
            stack,
            signer,
            database_url=service_url("calendar"),
            redis_url=valkey,
            service_key_file=str(keys.service_key("calendar")),
            call_targets="auth=127.0.0.1:1;todo=127.0.0.1:1;pomodoro=127.0.0.1:1",
        )
        made.kafka = kafka
        yield made
