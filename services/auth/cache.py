"""The Redis keys of auth: failed login attempts, and guests. Ended sessions are in `mesh/rpc/revocations.py`.

`auth:attempts:account:<account>[:<network>]`, `auth:attempts:network:<network>`   failures; when the next may come
`auth:attempts:known:<account>:<network>`   a login from there succeeded: failures elsewhere do not delay its owner
`auth:attempts:mails:<account>`, `auth:attempts:mails:network:<network>`           the same, of mails asked for
`auth:attempts:guests:<network>`            the same, of guests that began
`auth:guest:<guest>`                        the only copy of a guest's session, until it ends

An attempt is counted before the password is checked and refunded when the password was right, in one script with the
clock of Redis: parallel guesses at all replicas together get no more than the limit.
"""

from typing import Any, NamedTuple

from redis.asyncio import Redis

from mesh.runtime.clock import SECOND
from mesh.runtime.redis_memory import USED_SHARE
from services.auth.model import Session


class RateLimit(NamedTuple):
    """After `free` failures attempts are delayed by `first_delay`, twice that, and so on, at most `longest_delay`."""

    free: int
    longest_delay: int
    """Seconds; no account is locked permanently."""
    forget_seconds: int
    """Seconds after which one failure is dropped."""
    first_delay: int = 1
    """Seconds."""


ACCOUNT = RateLimit(free=10, longest_delay=60, forget_seconds=360)
NETWORK = RateLimit(free=50, longest_delay=900, forget_seconds=60)
"""A /24 is many users, so more failures are free; only attackers keep failing, so the delay grows longer."""
MAILS_OF_ACCOUNT = RateLimit(free=3, longest_delay=900, forget_seconds=1200, first_delay=60)
"""No inbox gets more than three mails at once, eight in half an hour and then four an hour, whoever asks for them."""
MAILS_OF_NETWORK = RateLimit(free=50, longest_delay=900, forget_seconds=60)
_GUEST_DELAY, _FORGET_GUEST = 900, 120
"""Seconds: of a network in which too many guests begin."""

_PREFIX = "auth:attempts:"
_GUEST = "auth:guest:"
_KNOWN_SECONDS = 30 * 24 * 3600

_FULL_SECONDS = 60
_SHARE = 0.5
"""Of the memory of Redis: above it no guest begins, no mail is asked for and no network becomes known.

Callers with many networks would fill it; the rest is for ended sessions and passwords, which cost too much to."""
_FULL = f"{USED_SHARE} local full = used_share() > {_SHARE}\n"

_ACQUIRE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local counted, wait = {}, 0
for index, key in ipairs(KEYS) do
  local failures, at, next = unpack(redis.call('HMGET', key, 'failures', 'at', 'next'))
  local forgotten = (now - tonumber(at or now)) / ARGV[index * 4 - 1]
  counted[index] = math.max(0, tonumber(failures or 0) - forgotten)
  wait = math.max(wait, tonumber(next or 0) - now)
end
if wait > 0 then return tostring(wait) end
for index, key in ipairs(KEYS) do
  local free, longest, forget = tonumber(ARGV[index * 4 - 3]), tonumber(ARGV[index * 4 - 2]), ARGV[index * 4 - 1]
  local failures, next = math.min(counted[index] + 1, free + 12), 0
  if failures > free - 0.5 then
    next = now + math.min(longest, ARGV[index * 4] * 2 ^ math.floor(failures - free + 0.5))
  end
  redis.call('HSET', key, 'failures', failures, 'at', string.format('%.6f', now), 'next', string.format('%.6f', next))
  redis.call('EXPIRE', key, math.ceil(failures * forget) + longest)
end
return '0'
"""
_ACQUIRE_SPARINGLY = _FULL + f"if full then return '{_FULL_SECONDS}' end" + _ACQUIRE
_BECOME_KNOWN = _FULL + "if not full then redis.call('SET', KEYS[1], 1, 'EX', ARGV[1]) end"
_REFUND = """
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
    """Limits login attempts per account and per network."""

    def __init__(self, redis: "Redis") -> None:
        """redis: shared by all replicas."""
        self._redis = redis
        self._acquire = redis.register_script(_ACQUIRE)
        self._refund = redis.register_script(_REFUND)
        self._become_known = redis.register_script(_BECOME_KNOWN)

    async def acquire(self, account: str, network: str) -> float:
        """Counts an attempt and returns 0; or counts nothing and returns the seconds until the next attempt is allowed.

        account: a pseudonym, because addresses must not be readable in Redis. Raises redis.exceptions.RedisError.
        """
        wait = await self._acquire(keys=await self._keys(account, network), args=[*ACCOUNT, *NETWORK])
        return float(wait)

    async def refund(self, account: str, network: str) -> None:
        """Uncounts an attempt whose password was not checked; a delay that it caused remains."""
        await self._refund(keys=await self._keys(account, network))

    async def reset(self, account: str, network: str) -> None:
        """After a correct password: clears the account's failures, and one failure of the network.

        The network's delay stays, or an attacker with one account could guess at others without delay.
        """
        account_key, network_key = await self._keys(account, network)
        await self._refund(keys=[network_key])
        await self._redis.delete(account_key)
        await self._become_known(keys=[_known(account, network)], args=[_KNOWN_SECONDS])

    async def _keys(self, account: str, network: str) -> tuple[str, str]:
        counted = f"{account}:{network}" if await self._redis.exists(_known(account, network)) else account
        return f"{_PREFIX}account:{counted}", f"{_PREFIX}network:{network}"


class MailThrottle:
    """Limits mails that are asked for without a session, per address and per network, whether an account has it."""

    def __init__(self, redis: "Redis") -> None:
        """redis: shared by all replicas."""
        self._acquire = redis.register_script(_ACQUIRE_SPARINGLY)

    async def acquire(self, account: str, network: str) -> float:
        """Counts a mail and returns 0; or counts nothing and returns the seconds until the next one is allowed.

        account: a pseudonym of the address. Raises redis.exceptions.RedisError.
        """
        keys = [f"{_PREFIX}mails:{account}", f"{_PREFIX}mails:network:{network}"]
        return float(await self._acquire(keys=keys, args=[*MAILS_OF_ACCOUNT, *MAILS_OF_NETWORK]))


def _known(account: str, network: str) -> str:
    return f"{_PREFIX}known:{account}:{network}"


_EXCHANGE = """
local found = redis.call('HMGET', KEYS[1], 'generation', 'issued_at', 'expires_at')
if not found[1] then return false end
if found[1] ~= ARGV[1] then return {'0', unpack(found)} end
redis.call('HSET', KEYS[1], 'generation', ARGV[1] + 1, 'issued_at', ARGV[2])
return {'1', tostring(ARGV[1] + 1), ARGV[2], found[3]}
"""


class GuestSessions:
    """The sessions of guests. With Redis they are lost, which the guests were told."""

    def __init__(self, redis: "Redis", per_network: int) -> None:
        """redis: shared by all replicas. per_network: guests that may begin there before others wait."""
        self._redis, self._limit = redis, RateLimit(per_network, _GUEST_DELAY, _FORGET_GUEST)
        self._acquire = redis.register_script(_ACQUIRE_SPARINGLY)
        self._exchange = redis.register_script(_EXCHANGE)

    async def acquire(self, network: str) -> float:
        """Counts a guest and returns 0; or counts nothing and returns the seconds until the next guest is allowed."""
        return float(await self._acquire(keys=[f"{_PREFIX}guests:{network}"], args=[*self._limit]))

    async def insert(self, guest: Session) -> None:
        """Begins a guest, until its end."""
        values = {"generation": guest.generation, "issued_at": guest.issued_at, "expires_at": guest.expires_at}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_GUEST + guest.id, mapping=values)
            pipe.expireat(_GUEST + guest.id, guest.expires_at // SECOND)
            await pipe.execute()

    async def find(self, guest_id: str) -> Session | None:
        """Reads a guest; None when it has ended."""
        reading: Any = self._redis.hmget(_GUEST + guest_id, ["generation", "issued_at", "expires_at"])
        found = await reading
        return None if found[0] is None else _guest(guest_id, found)

    async def exchange_token(self, guest_id: str, generation: int, now: int) -> tuple[Session | None, bool]:
        """Goes on to the next token when `generation` is the newest; the guest after it, and whether it was.

        Of callers with one token, exactly one succeeds.
        """
        found = await self._exchange(keys=[_GUEST + guest_id], args=[generation, now])
        return (None, False) if found is None else (_guest(guest_id, found[1:]), found[0] == "1")

    async def remove(self, guest_id: str) -> None:
        """Ends a guest; does nothing when it has ended."""
        await self._redis.delete(_GUEST + guest_id)


def _guest(guest_id: str, values: list[str | None]) -> Session:
    generation, issued_at, expires_at = (int(value or 0) for value in values)
    return Session(guest_id, guest_id, generation, issued_at, expires_at, None)
