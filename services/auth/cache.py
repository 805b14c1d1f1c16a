"""Redis of auth: failed attempts. Ended sessions go through `mesh/revocations.py`.

Attempts are counted before the password is checked and given back when it was right, in one script with one clock: any
number of parallel guesses, at any number of replicas, get no more than the allowance.
"""

from typing import NamedTuple

from redis.asyncio import Redis


class Allowance(NamedTuple):
    """Failures that cost nothing, and how far the delay grows after them: 1 s, 2 s, 4 s …"""

    free: int
    longest_delay: int
    """Seconds. There is no lock: an attempt is always possible again after this."""


ACCOUNT = Allowance(free=10, longest_delay=60)
NETWORK = Allowance(free=50, longest_delay=900)
"""Larger, because a network is many people; longer, because only the guessing ones fail on and on."""
FORGET_SECONDS = 3600
"""Without a further attempt everything is forgotten after this."""

_PREFIX = "auth:attempts:"

_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = 0
for _, key in ipairs(KEYS) do
  wait = math.max(wait, tonumber(redis.call('HGET', key, 'next') or 0) - now)
end
if wait > 0 then return wait end
for place, key in ipairs(KEYS) do
  local free, longest = tonumber(ARGV[place * 2 - 1]), tonumber(ARGV[place * 2])
  local failures = redis.call('HINCRBY', key, 'failures', 1)
  if failures >= free then
    redis.call('HSET', key, 'next', now + math.min(longest, 2 ^ math.min(failures - free, 30)) * 1000)
  end
  redis.call('EXPIRE', key, ARGV[#ARGV])
end
return 0
"""

_GIVE_BACK = """
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 and redis.call('HINCRBY', key, 'failures', -1) <= 0 then
    redis.call('DEL', key)
  end
end
"""


class Attempts:
    """Counts attempts per account and per network."""

    def __init__(self, redis: "Redis") -> None:
        """redis: shared by all replicas."""
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)

    async def take(self, account: str, network: str) -> float:
        """Counts an attempt and returns 0, or the seconds to wait before one is allowed; that is not counted.

        account: a pseudonym, the address itself is not to be read in Redis. Raises redis.exceptions.RedisError.
        """
        wait = await self._take(keys=_keys(account, network), args=[*ACCOUNT, *NETWORK, FORGET_SECONDS])
        return float(wait) / 1000

    async def give_back(self, account: str, network: str) -> None:
        """It was no attempt: nothing was checked. A delay that it brought stays."""
        await self._give_back(keys=_keys(account, network))

    async def forgive(self, account: str, network: str) -> None:
        """The password was right: the account is clean, and the network has one failure less.

        The network's delay stays, or whoever has one account could guess at others without delay.
        """
        account_key, network_key = _keys(account, network)
        await self._give_back(keys=[network_key])
        await self._redis.delete(account_key)


def _keys(account: str, network: str) -> list[str]:
    return [f"{_PREFIX}account:{account}", f"{_PREFIX}network:{network}"]
