"""How the fan-out outlives what happens to its connection."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from harness.waiting import until
from services.realtime.cache.streams import Tail
from tests.support.realtime_clients import Door, Target
from tests.support.realtime_replicas import Tell


async def test_a_connection_that_cannot_even_be_given_up_does_not_end_the_fan_out(
    target: Target, door: Door, token: str, tell: Tell, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [RuntimeError("the handler is closed"), RedisTimeout()]
    reset = Tail.reset

    async def stumble(tail: Tail) -> None:
        if faults:
            raise faults.pop()
        await reset(tail)

    monkeypatch.setattr(Tail, "reset", stumble)
    async with door.open(target, token) as stream:
        await stream.frame()
        async with Redis.from_url(valkey) as redis:
            await redis.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: not faults, "it tried again and again")
        told = await tell()
        assert await stream.events(1) == [told]
