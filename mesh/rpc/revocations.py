"""Revoked sessions: pushed through Redis to every replica, held in memory, and refused within two seconds.

A replica without Redis misses new revocations: after 1.2 s it turns NOT_SERVING instead of trusting tokens.
"""

import time
from collections.abc import Callable
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from mesh.runtime.lifecycle import SupervisedTask

KEY = "auth:revoked"
CHANNEL = "auth:revocations"
_PING_SECONDS = 0.4
_TRUSTED_SECONDS = 1.2
_FORGET_SECONDS = 60.0

_PUSH = """
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d.%06d', time[1], time[2]))
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
redis.call('PUBLISH', ARGV[1], ARGV[3] .. ' ' .. ARGV[2])
"""
"""Drops what has ended by the clock of Redis: a host whose clock is ahead would drop what others still need. And drops
first: Redis lets a script that has deleted something add to a full memory, so a session ends even then."""

Ended = Callable[[], None]


def session_member(session_id: str) -> str:
    """The member of the sorted set that revokes one session."""
    return f"sid:{session_id}"


def user_member(user_id: str, before: int) -> str:
    """The member that revokes all sessions of a user. before: tokens issued before this second are refused."""
    return f"user:{user_id}:{before}"


async def push(redis: Redis, member: str, forget_at: float) -> None:
    """Revokes at every replica. forget_at: when the last affected token expires, seconds since the epoch."""
    pushing: Any = redis.eval(_PUSH, 1, KEY, CHANNEL, member, str(forget_at))
    await pushing


class Revocations(SupervisedTask):
    """The revoked sessions whose tokens have not expired; ready while Redis responds."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError)
    longest_backoff: ClassVar[float] = 0.1

    def __init__(self, redis: Redis) -> None:
        """redis: with `decode_responses`."""
        super().__init__("revocations")
        self._redis = redis
        self._sessions: dict[str, float] = {}
        self._users: dict[str, tuple[int, float]] = {}
        self._heard = float("-inf")
        self._waiting: dict[str, set[Ended]] = {}

    @property
    def ready(self) -> bool:
        """Whether Redis responded so recently that no revocation can be missing."""
        return time.monotonic() - self._heard < _TRUSTED_SECONDS

    def ended(self, user_id: str, session_id: str, issued: int) -> bool:
        """Whether a token of this session, issued at this second, is refused."""
        if session_id in self._sessions:
            return True
        before = self._users.get(user_id)
        return before is not None and issued < before[0]

    def watch(self, user_id: str, session_id: str, ended: Ended) -> Callable[[], None]:
        """Calls `ended` when the session, or every session of the user, is revoked; returns what stops the watch."""
        names = (session_member(session_id), f"user:{user_id}")
        for name in names:
            self._waiting.setdefault(name, set()).add(ended)

        def stop() -> None:
            for name in names:
                if name in self._waiting:
                    self._waiting[name].discard(ended)
                    if not self._waiting[name]:
                        del self._waiting[name]

        return stop

    async def run(self) -> None:
        """Subscribes before it reads the set, so that no revocation is missed in between.

        The client reconnects and subscribes again by itself: every confirmed subscription reads the set.
        """
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            loaded = False
            pinged = 0.0
            forgot = time.monotonic()
            while True:
                message = await pubsub.get_message(timeout=_PING_SECONDS / 4)
                if message is not None:
                    if message["type"] == "subscribe":
                        await self._load()
                        loaded = True
                        self.succeeded()
                    elif message["type"] == "message":
                        until, _, member = message["data"].partition(" ")
                        self._add(member, float(until))
                    if loaded:
                        self._heard = time.monotonic()
                if loaded and time.monotonic() - pinged > _PING_SECONDS:
                    pinged = time.monotonic()
                    await pubsub.ping()
                if pinged and pinged - self._heard > _TRUSTED_SECONDS * 2:
                    raise TimeoutError("no response to PING")
                if time.monotonic() - forgot > _FORGET_SECONDS:
                    forgot = time.monotonic()
                    self._forget()

    def _forget(self) -> None:
        """Drops revocations whose last token has expired."""
        now = time.time()
        self._sessions = {name: until for name, until in self._sessions.items() if until > now}
        self._users = {name: entry for name, entry in self._users.items() if entry[1] > now}

    async def _load(self) -> None:
        found: Any = await self._redis.zrangebyscore(KEY, time.time(), "+inf", withscores=True)
        for member, until in found:
            self._add(str(member), float(until))

    def _add(self, member: str, until: float) -> None:
        kind, _, rest = member.partition(":")
        if kind == "sid":
            self._sessions[rest] = until
            name = member
        else:
            user_id, _, before = rest.rpartition(":")
            self._users[user_id] = (max(int(before), self._users.get(user_id, (0, 0.0))[0]), until)
            name = f"user:{user_id}"
        for ended in tuple(self._waiting.get(name, ())):
            ended()
