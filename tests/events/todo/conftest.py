"""The todo service, consuming from the real broker."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from services.todo.main import build
from services.todo.settings import Settings as TodoSettings
from stack.keys import Keys
from stack.layout import State
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.tokens import Signer


@pytest.fixture
async def channel(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer, tmp_path: Path
) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the service, which consumes from the broker."""
    settings = settings_for(
        database_url=service_url("todo"),
        redis_url=valkey,
        service_key_file=str(Keys(State(tmp_path)).service_key("todo")),
        call_targets="auth=127.0.0.1:1",
    )
    settings = replace(settings, kafka_bootstrap=kafka)
    async with serving(build(TodoSettings(**vars(settings)), SignerKeys(signer))) as channel:
        yield channel
