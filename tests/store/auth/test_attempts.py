"""Failed attempts in Redis: counted before the password is checked, with a growing delay and no lock."""

import asyncio

import pytest
from redis.asyncio import Redis

from mesh.ids import new_id
from services.auth.cache import ACCOUNT, FORGET_SECONDS, NETWORK, Attempts


@pytest.fixture
def attempts(redis: "Redis") -> Attempts:
    return Attempts(redis)


@pytest.fixture
def account() -> str:
    return new_id()


@pytest.fixture
def network() -> str:
    return new_id()


async def let_time_pass(redis: "Redis", kind: str, name: str) -> None:
    """Takes the delay away, as waiting would."""
    await redis.hdel(f"auth:attempts:{kind}:{name}", "next")


async def test_the_first_attempts_cost_nothing_and_then_the_delay_doubles(
    redis: "Redis", attempts: Attempts, account: str
) -> None:
    for _ in range(ACCOUNT.free):
        assert await attempts.take(account, new_id()) == 0
    delays = []
    for _ in range(9):
        delays.append(await attempts.take(account, new_id()))
        await let_time_pass(redis, "account", account)
        assert await attempts.take(account, new_id()) == 0
    assert [round(delay) for delay in delays] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_an_attempt_that_is_refused_does_not_make_the_delay_longer(attempts: Attempts, account: str) -> None:
    for _ in range(ACCOUNT.free):
        await attempts.take(account, new_id())
    assert max([await attempts.take(account, new_id()) for _ in range(30)]) <= 1


async def test_parallel_attempts_get_no_more_than_the_allowance(attempts: Attempts, account: str) -> None:
    waits = await asyncio.gather(*(attempts.take(account, new_id()) for _ in range(60)))
    assert sum(wait == 0 for wait in waits) == ACCOUNT.free


async def test_a_network_is_delayed_across_accounts(attempts: Attempts, network: str) -> None:
    for _ in range(NETWORK.free):
        assert await attempts.take(new_id(), network) == 0
    assert 0 < await attempts.take(new_id(), network) <= 1


async def test_a_right_password_cleans_the_account_and_takes_one_from_the_network(
    redis: "Redis", attempts: Attempts, account: str, network: str
) -> None:
    for _ in range(3):
        await attempts.take(account, network)
    await attempts.forgive(account, network)
    assert not await redis.exists(f"auth:attempts:account:{account}")
    assert await redis.hget(f"auth:attempts:network:{network}", "failures") == "2"


async def test_a_right_password_does_not_end_the_delay_of_a_network(
    attempts: Attempts, account: str, network: str
) -> None:
    for _ in range(NETWORK.free):
        await attempts.take(new_id(), network)
    await attempts.forgive(account, network)
    assert await attempts.take(new_id(), network) > 0


async def test_an_attempt_that_checked_nothing_is_given_back(
    redis: "Redis", attempts: Attempts, account: str, network: str
) -> None:
    await attempts.take(account, network)
    await attempts.give_back(account, network)
    await attempts.give_back(account, network)
    assert not await redis.exists(f"auth:attempts:account:{account}", f"auth:attempts:network:{network}")


async def test_attempts_are_forgotten_an_hour_after_the_last(
    redis: "Redis", attempts: Attempts, account: str, network: str
) -> None:
    await attempts.take(account, network)
    for key in (f"auth:attempts:account:{account}", f"auth:attempts:network:{network}"):
        assert FORGET_SECONDS - 10 < await redis.ttl(key) <= FORGET_SECONDS
