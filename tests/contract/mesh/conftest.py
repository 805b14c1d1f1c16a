"""A service of four RPCs, one of each call shape, that exists for tests of the interceptor only."""

from collections.abc import AsyncIterator

import pytest
from focusmesh.policy.v1 import policy_pb2

from mesh.app import App
from mesh.platform import Platform
from tests.contract.mesh.shapes import MOST_CALLS, SERVICE, Caller, Shapes, declare, register
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.tokens import Signer


@pytest.fixture
def todo_url(service_url: ServiceUrl) -> str:
    """Connection string of the role of the service that stands for any."""
    return service_url("todo")


@pytest.fixture(scope="session")
def shapes() -> None:
    """Declares the service, once in a process."""
    rule = policy_pb2.Rule(access=policy_pb2.ACCESS_USER, scope="tasks:read", rate=policy_pb2.RATE_CLASS_READ)
    declare(SERVICE, rule)


@pytest.fixture
async def call(shapes: None, valkey: str, signer: Signer) -> AsyncIterator[Caller]:
    """Calls the service behind the real interceptor."""
    settings = settings_for(redis_url=valkey, max_concurrent_calls=MOST_CALLS, max_concurrent_streams=MOST_CALLS)
    platform = Platform("shapes", settings, SignerKeys(signer))
    registered = [(lambda servicer, server: register(SERVICE, servicer, server), Shapes())]
    app = App("shapes", platform.settings, platform.tokens, registered, [platform.revocations])
    async with serving(app) as channel:
        yield Caller(channel)
