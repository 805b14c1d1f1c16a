"""A replica that stops."""

import asyncio

from services.realtime.main import build
from tests.support.realtime_clients import RealtimeClient, Target
from tests.support.realtime_replicas import settings_for
from tests.support.serving import SignerKeys, serving
from tests.support.tokens import Signer


async def test_streams_of_a_replica_that_stops_are_sent_elsewhere_and_do_not_delay_it(
    valkey: str, signer: Signer, client: RealtimeClient
) -> None:
    settings = settings_for(valkey, stop_grace_seconds=30.0)
    app = serving(build(settings, SignerKeys(signer)))
    await app.__aenter__()
    async with client.open(Target(settings.listen, settings.websocket_listen), signer.token()) as stream:
        await stream.frame()
        async with asyncio.timeout(10):
            _, ended = await asyncio.gather(app.__aexit__(None, None, None), stream.end())
    assert (ended.code, ended.reason) == (client.come_back, "UNAVAILABLE")
