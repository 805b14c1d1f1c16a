"""The audit service, consuming from the real broker."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import grpc
import pytest

from services.audit.main import build
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.tokens import Signer


@pytest.fixture
def running(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer
) -> Callable[[], AbstractAsyncContextManager[grpc.aio.Channel]]:
    """Runs the service until the end of the block."""

    def run() -> AbstractAsyncContextManager[grpc.aio.Channel]:
        settings = settings_for(database_url=service_url("audit"), redis_url=valkey)
        return serving(build(replace(settings, kafka_bootstrap=kafka), SignerKeys(signer)))

    return run
