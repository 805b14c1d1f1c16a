"""Redis of auth: failed attempts. Ended sessions go through `mesh/rpc/revocations.py`.

`auth:attempts:account:<account>[:<network>]`, `auth:attempts:network:<network>`   failures, and when the next may come
`auth:attempts:known:<account>:<network>`   the account was signed in to from there: whoever fails elsewhere does not
delay its owner

Attempts are counted before the password is checked and refunded when it was right, in one script with one clock: any
number of parallel guesses, at any number of replicas, get no more than the allowance.
"""

from typing import NamedTuple

from redis.asyncio import Redis


class RateLimit(NamedTuple):
    """How many failures are free, how far the delay grows after them (1 s, 2 s, 4 s …), and how they are forgotten."""

    free: int
    longest_delay: int
    """Seconds. There is no lock: after this an attempt is possible again, where no other was quicker."""
    forget_seconds: int
    """One failure is forgotten after every so many seconds."""


ACCOUNT = RateLimit(free=10, longest_delay=60, forget_seconds=360)
NETWORK = RateLimit(free=50, longest_delay=900, forget_seconds=60)
"""Larger, because a network is many people, some of whom always mistype; longer, because only the guessing fail on."""

_PREFIX = "auth:attempts:"
_KNOWN_SECONDS = 30 * 24 * 3600

_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local counted, wait = {}, 0
for place, key in ipairs(KEYS) do
  local failures, at, next = unpack(redis.call('HMGET', key, 'failures', 'at', 'next'))
  local forgotten = (now - tonumber(at or now)) / ARGV[place * 3]
  counted[place] = math.max(0, tonumber(failures or 0) - forgotten)
  wait = math.max(wait, tonumber(next or 0) - now)
end
if wait > 0 then return tostring(wait) end
for place, key in ipairs(KEYS) do
  local free, longest, forget = tonumber(ARGV[place * 3 - 2]), tonumber(ARGV[place * 3 - 1]), ARGV[place * 3]
  local failures, next = math.min(counted[place] + 1, free + 12), 0
  if failures > free - 0.5 then
    next = now + math.min(longest, 2 ^ math.floor(failures - free + 0.5))
  end
  redis.call('HSET', key, 'failures', failures, 'at', string.format('%.6f', now), 'next', string.format('%.6f', next))
  redis.call('EXPIRE', key, math.ceil(failures * forget) + longest)
end
return '0'
"""
_GIVE_BACK = """
for _, key in ipairs(KEYS) do
  local failures = tonumber(redis.call('HGET', key, 'failures'))
  if failures and failures > 1 then
    redis.call('HSET', key, 'failures', failures - 1)
  elseif failures then
    redis.call('DEL', key)
  end
end
"""


class LoginThrottle:
    """Counts attempts per account and per network."""

    def __init__(self, redis: "Redis") -> None:
        """redis: shared by all replicas."""
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)

    async def acquire(self, account: str, network: str) -> float:
        """Counts an attempt and returns 0, or the seconds to wait before one is allowed; that is not counted.

        account: a pseudonym, the address itself is not to be read in Redis. Raises redis.exceptions.RedisError.
        """
        wait = await self._take(keys=await self._keys(account, network), args=[*ACCOUNT, *NETWORK])
        return float(wait)

    async def refund(self, account: str, network: str) -> None:
        """It was no attempt: nothing was checked. A delay that it brought stays."""
        await self._give_back(keys=await self._keys(account, network))

    async def reset(self, account: str, network: str) -> None:
        """The password was right: the account is clean, and the network has one failure less.

        The network's delay stays, or whoever has one account could guess at others without delay.
        """
        account_key, network_key = await self._keys(account, network)
        await self._give_back(keys=[network_key])
        await self._redis.delete(account_key)
        await self._redis.set(_known(account, network), 1, ex=_KNOWN_SECONDS)

    async def _keys(self, account: str, network: str) -> tuple[str, str]:
        counted = f"{account}:{network}" if await self._redis.exists(_known(account, network)) else account
        return f"{_PREFIX}account:{counted}", f"{_PREFIX}network:{network}"


def _known(account: str, network: str) -> str:
    return f"{_PREFIX}known:{account}:{network}"
