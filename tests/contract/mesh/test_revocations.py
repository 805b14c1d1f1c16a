"""Ended sessions are known everywhere within two seconds, whatever happened to the connection meanwhile."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from harness.waiting import until
from mesh.rpc import revocations
from mesh.rpc.revocations import KEY, Revocations, push, session_member, user_member
from tests.support.fault_proxy import FaultProxy, fault_proxy

NOW = int(time.time())


@pytest.fixture
async def to_redis(valkey: str) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(valkey) as made:
        yield made


@pytest.fixture
async def auth(valkey: str) -> AsyncIterator[Redis]:
    """What the service that ends sessions writes through."""
    async with Redis.from_url(valkey) as redis:
        yield redis


@pytest.fixture
async def known(to_redis: FaultProxy) -> AsyncIterator[Revocations]:
    """What a replica knows."""
    async with Redis.from_url(to_redis.url, decode_responses=True) as redis:
        replica = Revocations(redis)
        replica.start()
        await until(lambda: replica.ready, "the revocations are known")
        yield replica
        await replica.close()


async def test_an_ended_session_is_refused_within_two_seconds(known: Revocations, auth: Redis) -> None:
    assert not known.ended("ada", "s1", NOW)
    await push(auth, session_member("s1"), time.time() + 60)
    await until(lambda: known.ended("ada", "s1", NOW), "the session is refused", seconds=2)
    assert not known.ended("ada", "s2", NOW)


async def test_tokens_of_a_user_from_before_all_sessions_ended_are_refused(known: Revocations, auth: Redis) -> None:
    await push(auth, user_member("ada", NOW), time.time() + 60)
    await until(lambda: known.ended("ada", "s1", NOW - 1), "older tokens are refused", seconds=2)
    assert not known.ended("ada", "s2", NOW)
    assert not known.ended("bob", "s3", NOW - 1)


async def test_a_session_that_ended_while_the_connection_was_broken_is_refused(
    known: Revocations, auth: Redis, to_redis: FaultProxy
) -> None:
    await to_redis.down()
    await push(auth, session_member("s1"), time.time() + 60)
    await to_redis.up()
    await until(lambda: known.ready and known.ended("ada", "s1", NOW), "the session is refused", seconds=2)


async def test_a_connection_that_redis_itself_ends_loses_no_session(known: Revocations, auth: Redis) -> None:
    await auth.zadd(KEY, {session_member("s1"): time.time() + 60})
    await auth.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: known.ready and known.ended("ada", "s1", NOW), "the session is refused", seconds=2)


async def test_an_unexpected_error_of_the_client_is_survived(valkey: str) -> None:
    class Stumbling(Redis):
        """uvloop fails with a RuntimeError when a connection ends right after it was made."""

        stumbles = 1

        def pubsub(self, **options: Any) -> PubSub:
            if self.stumbles:
                self.stumbles -= 1
                raise RuntimeError("unable to perform operation: the handler is closed")
            return super().pubsub(**options)

    async with Stumbling.from_url(valkey, decode_responses=True) as redis:
        replica = Revocations(redis)
        replica.start()
        await until(lambda: replica.ready, "the revocations are known", seconds=5)
        await replica.close()


async def test_a_watcher_is_notified_once_the_session_or_all_of_its_user_ended(known: Revocations, auth: Redis) -> None:
    notified: list[str] = []
    known.watch("ada", "s1", lambda: notified.append("s1"))
    known.watch("bob", "s2", lambda: notified.append("s2"))
    known.watch("bob", "s3", lambda: notified.append("s3"))()
    await push(auth, session_member("s1"), time.time() + 60)
    await push(auth, user_member("bob", NOW), time.time() + 60)
    await until(lambda: notified == ["s1", "s2"], "both are notified, and nobody who stopped watching", seconds=2)


async def test_what_may_be_forgotten_is_forgotten(
    known: Revocations, auth: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "_FORGET_SECONDS", 0.1)
    soon = time.time() + 0.2
    await push(auth, user_member("ada", NOW), soon)
    await push(auth, session_member("s1"), soon)
    await until(lambda: known.ended("ada", "s1", NOW - 1), "they are refused", seconds=2)
    await until(lambda: not known.ended("ada", "s1", NOW - 1), "no token of them can live any more", seconds=2)
    await push(auth, session_member("s2"), time.time() + 60)
    assert await auth.zcard(KEY) == 1


async def test_a_host_whose_clock_is_ahead_drops_nothing_that_others_need(
    auth: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push(auth, session_member("s1"), time.time() + 60)
    monkeypatch.setattr(time, "time", lambda: NOW + 3600.0)
    await push(auth, session_member("s2"), NOW + 60.0)
    assert await auth.zcard(KEY) == 2
