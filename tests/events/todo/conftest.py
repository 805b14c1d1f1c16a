"""The todo service, consuming from the real broker."""

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from services.todo.main import build
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.tokens import Signer


@pytest.fixture
async def channel(service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the service, which consumes from the broker."""
    settings = replace(settings_for(database_url=service_url("todo"), redis_url=valkey), kafka_bootstrap=kafka)
    async with serving(build(settings, SignerKeys(signer))) as channel:
        yield channel
