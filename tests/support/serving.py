"""A service in this process, behind the real interceptor, with tokens that a test signs itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.app import App
from mesh.events.consumer import Consumer
from mesh.events.producer import Producer
from mesh.events.relay import Relay
from mesh.rpc.identity import KeySource
from mesh.runtime import tls
from mesh.runtime.settings import ServiceSettings
from tests.support.ports import free_ports
from tests.support.tokens import Signer

START_SECONDS = 20


class SignerKeys(KeySource):
    """The keys of a test's signer, as a service finds them."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def knows(self, kid: str) -> bool:
        """Whether it is the one key."""
        return kid == self._signer.kid

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """The one key."""
        return self._signer.key.public_key() if self.knows(kid) else None


def settings_for(*, database_url: str = "", redis_url: str, **changes: Any) -> ServiceSettings:
    """Settings of a service that listens on a free port and drains at once."""
    return ServiceSettings(
        listen=f"127.0.0.1:{free_ports(1)[0]}",
        database_url=database_url,
        redis_url=redis_url,
        kafka_bootstrap="127.0.0.1:1",
        jwks_target="127.0.0.1:1",
        page_token_key="test",
        **{"drain_seconds": 0.0, "stop_grace_seconds": 1.0, **changes},
    )


def without_broker(app: App) -> App:
    """The service without what connects to Kafka: events stay in the outbox, where a test can read them."""
    kept = [part for part in app.components if not isinstance(part, Consumer | Producer | Relay)]
    return replace(app, components=kept)


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[grpc.aio.Channel]:
    """Runs the service until the end of the block; the channel leads to it once it says SERVING."""
    stop = asyncio.Event()
    running = asyncio.create_task(app.serve(stop))
    try:
        async with tls.channel(app.settings.listen, tls.channel_credentials(app.settings)) as channel:
            await _until_serving(channel, running)
            yield channel
    finally:
        stop.set()
        await running


async def _until_serving(channel: grpc.aio.Channel, running: "asyncio.Task[None]") -> None:
    health = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(START_SECONDS):
        async for response in health.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
            if running.done():
                running.result()
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                return
