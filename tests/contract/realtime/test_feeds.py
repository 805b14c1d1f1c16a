"""The fan-out survives the failures of its connection."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from harness.waiting import until
from services.realtime.cache.streams import Tail
from tests.support.realtime_clients import RealtimeClient, Target
from tests.support.realtime_replicas import Publish


async def test_a_connection_that_cannot_even_be_given_up_does_not_end_the_fan_out(
    target: Target, client: RealtimeClient, token: str, publish: Publish, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [RuntimeError("the handler is closed"), RedisTimeout()]
    reset = Tail.reset

    async def stumble(tail: Tail) -> None:
        if faults:
            raise faults.pop()
        await reset(tail)

    monkeypatch.setattr(Tail, "reset", stumble)
    async with client.open(target, token) as stream:
        await stream.frame()
        async with Redis.from_url(valkey) as redis:
            await redis.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: not faults, "it tried again and again")
        published = await publish()
        assert await stream.events(1) == [published]
