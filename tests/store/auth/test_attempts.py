"""Failed attempts in Redis: counted before the password is checked, with a growing delay and no lock."""

import asyncio

import pytest
from redis.asyncio import Redis

from mesh.runtime.ids import new_id
from services.auth.cache import (
    ACCOUNT,
    MAILS_OF_ACCOUNT,
    MAILS_OF_NETWORK,
    NETWORK,
    GuestSessions,
    LoginThrottle,
    MailThrottle,
)


@pytest.fixture
def attempts(redis: "Redis") -> LoginThrottle:
    return LoginThrottle(redis)


@pytest.fixture
def account() -> str:
    return new_id()


@pytest.fixture
def network() -> str:
    return new_id()


async def let_time_pass(redis: "Redis", kind: str, name: str, seconds: float) -> None:
    """Moves what is stored into the past."""
    key = f"auth:attempts:{kind}:{name}"
    for instant in ("at", "next"):
        await redis.hincrbyfloat(key, instant, -seconds)


async def failures(redis: "Redis", kind: str, name: str) -> float:
    return float(await redis.hget(f"auth:attempts:{kind}:{name}", "failures") or 0)


async def test_the_first_attempts_cost_nothing_and_then_the_delay_doubles(
    redis: "Redis", attempts: LoginThrottle, account: str
) -> None:
    for _ in range(ACCOUNT.free):
        assert await attempts.acquire(account, new_id()) == 0
    delays = []
    for _ in range(9):
        delays.append(await attempts.acquire(account, new_id()))
        await let_time_pass(redis, "account", account, delays[-1])
        assert await attempts.acquire(account, new_id()) == 0
    assert [round(delay) for delay in delays] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_an_attempt_that_is_refused_does_not_make_the_delay_longer(attempts: LoginThrottle, account: str) -> None:
    for _ in range(ACCOUNT.free):
        await attempts.acquire(account, new_id())
    assert max([await attempts.acquire(account, new_id()) for _ in range(30)]) <= 1


async def test_parallel_attempts_get_no_more_than_the_allowance(attempts: LoginThrottle, account: str) -> None:
    waits = await asyncio.gather(*(attempts.acquire(account, new_id()) for _ in range(60)))
    assert sum(wait == 0 for wait in waits) == ACCOUNT.free


async def test_a_network_is_delayed_across_accounts(attempts: LoginThrottle, network: str) -> None:
    for _ in range(NETWORK.free):
        assert await attempts.acquire(new_id(), network) == 0
    assert 0 < await attempts.acquire(new_id(), network) <= 1


async def test_a_right_password_cleans_the_account_and_takes_one_from_the_network(
    redis: "Redis", attempts: LoginThrottle, account: str, network: str
) -> None:
    for _ in range(3):
        await attempts.acquire(account, network)
    await attempts.reset(account, network)
    assert not await redis.exists(f"auth:attempts:account:{account}")
    assert await failures(redis, "network", network) == pytest.approx(2, abs=0.1)


async def test_a_right_password_does_not_end_the_delay_of_a_network(
    attempts: LoginThrottle, account: str, network: str
) -> None:
    for _ in range(NETWORK.free):
        await attempts.acquire(new_id(), network)
    await attempts.reset(account, network)
    assert await attempts.acquire(new_id(), network) > 0


async def test_an_attempt_that_checked_nothing_is_given_back(
    redis: "Redis", attempts: LoginThrottle, account: str, network: str
) -> None:
    await attempts.acquire(account, network)
    await attempts.refund(account, network)
    await attempts.refund(account, network)
    assert not await redis.exists(f"auth:attempts:account:{account}", f"auth:attempts:network:{network}")


async def test_failures_are_forgotten_one_by_one(redis: "Redis", attempts: LoginThrottle, network: str) -> None:
    for _ in range(NETWORK.free - 1):
        await attempts.acquire(new_id(), network)
    await let_time_pass(redis, "network", network, 10 * NETWORK.forget_seconds)
    for _ in range(10):
        assert await attempts.acquire(new_id(), network) == 0
    assert await failures(redis, "network", network) == pytest.approx(NETWORK.free - 1, abs=0.1)


async def test_a_network_in_which_some_always_mistype_is_never_delayed(
    redis: "Redis", attempts: LoginThrottle, network: str
) -> None:
    for _ in range(NETWORK.free * 2):
        assert await attempts.acquire(new_id(), network) == 0
        await let_time_pass(redis, "network", network, NETWORK.forget_seconds)


async def test_nothing_is_kept_longer_than_it_takes_to_forget(
    redis: "Redis", attempts: LoginThrottle, account: str, network: str
) -> None:
    await attempts.acquire(account, network)
    for kind, name, allowance in (("account", account, ACCOUNT), ("network", network, NETWORK)):
        kept = await redis.ttl(f"auth:attempts:{kind}:{name}")
        assert allowance.forget_seconds <= kept <= allowance.forget_seconds + allowance.longest_delay + 1


async def test_who_fails_elsewhere_does_not_delay_an_account_where_it_was_signed_in_to(
    attempts: LoginThrottle, account: str, network: str
) -> None:
    await attempts.acquire(account, network)
    await attempts.reset(account, network)
    elsewhere = new_id()
    while await attempts.acquire(account, elsewhere) == 0:
        pass
    assert await attempts.acquire(account, new_id()) > 0
    assert await attempts.acquire(account, network) == 0


async def test_who_fails_where_the_account_was_signed_in_to_is_delayed_there(
    attempts: LoginThrottle, account: str, network: str
) -> None:
    await attempts.acquire(account, network)
    await attempts.reset(account, network)
    for _ in range(ACCOUNT.free):
        assert await attempts.acquire(account, network) == 0
    assert await attempts.acquire(account, network) > 0


async def test_three_mails_to_an_address_are_free_and_then_they_become_rare(redis: "Redis", account: str) -> None:
    mails = MailThrottle(redis)
    for _ in range(MAILS_OF_ACCOUNT.free):
        assert await mails.acquire(account, new_id()) == 0
    delays = []
    for _ in range(6):
        delays.append(await mails.acquire(account, new_id()))
        await let_time_pass(redis, "mails", account, delays[-1])
        assert await mails.acquire(account, new_id()) == 0
    assert [round(delay, -1) for delay in delays] == [60, 120, 240, 480, 480, 900]


async def test_a_network_asks_for_mails_to_many_addresses_and_not_to_all(redis: "Redis", network: str) -> None:
    mails = MailThrottle(redis)
    waits = await asyncio.gather(*(mails.acquire(new_id(), network) for _ in range(MAILS_OF_NETWORK.free + 20)))
    assert sum(wait == 0 for wait in waits) == MAILS_OF_NETWORK.free
    assert await mails.acquire(new_id(), new_id()) == 0


async def test_mails_that_were_asked_for_do_not_keep_an_owner_from_signing_in(
    redis: "Redis", attempts: LoginThrottle, account: str, network: str
) -> None:
    mails = MailThrottle(redis)
    while await mails.acquire(account, network) == 0:
        pass
    assert await attempts.acquire(account, network) == 0


async def test_what_many_networks_can_multiply_leaves_half_of_the_memory_to_passwords_and_ended_sessions(
    redis: "Redis", attempts: LoginThrottle, account: str, network: str
) -> None:
    mails, guests = MailThrottle(redis), GuestSessions(redis, per_network=40)
    most = (await redis.config_get("maxmemory"))["maxmemory"]
    await redis.config_set("maxmemory", int((await redis.info("memory"))["used_memory"] / 0.6))
    try:
        assert await mails.acquire(account, network) == await guests.acquire(network) == 60
        assert await attempts.acquire(account, network) == 0
        await attempts.reset(account, network)
        assert not await redis.exists(f"auth:attempts:known:{account}:{network}")
    finally:
        await redis.config_set("maxmemory", most)
    assert await mails.acquire(account, network) == await guests.acquire(network) == 0
    await attempts.reset(account, network)
    assert await redis.exists(f"auth:attempts:known:{account}:{network}")
