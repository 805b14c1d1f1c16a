"""Which devices of users were there lately.

`pomodoro:present:<user>`   hash: when each device of the user last called or watched, and since when that is complete
"""

from collections.abc import Collection
from typing import ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from mesh.runtime.clock import SECOND, Clock
from mesh.runtime.lifecycle import PeriodicTask

_PRESENT = "pomodoro:present:"
_SINCE = "since"
_KEPT_SECONDS = 7 * 86_400
"""Longer than the longest cycle of intervals, 49 hours."""
_AGAIN = 5 * SECOND
"""A device is noted in Redis once in so long."""
_FORGET = 600 * SECOND
_MOST_DEVICES = 16
"""Of one user in Redis: every sign-in is another device. With one more, what is known of the user begins anew."""


class Presence(PeriodicTask):
    """When the devices of users were last there; noted here at once, and in Redis within a second.

    While Redis does not respond, or has lost what it knew, nobody is taken to be away.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError)

    def __init__(self, redis: "Redis", clock: Clock) -> None:
        super().__init__("presence")
        self._redis, self._clock = redis, clock
        self._noted: dict[str, dict[str, int]] = {}
        self._written: dict[tuple[str, str], int] = {}

    def note(self, user_id: str, device_id: str, now: int) -> None:
        """The device called or watches."""
        self._noted.setdefault(user_id, {})[device_id] = now

    async def last(self, user_ids: Collection[str]) -> dict[str, int]:
        """When any device of each of these users was last there, or may have been; empty while that is not known."""
        known = await self._known(user_ids)
        return {user_id: max(at for _, at in devices) for user_id, devices in known.items()}

    async def others(self, user_id: str, device_id: str) -> int | None:
        """When any other device of the user was last there, or may have been; None when that is not known."""
        devices = (await self._known([user_id])).get(user_id, ())
        return max((at for device, at in devices if device != device_id), default=None)

    async def run_once(self) -> int:
        """Writes to Redis which devices were there since it last did; returns 0."""
        due = {
            (user_id, device_id): at
            for user_id, devices in self._noted.items()
            for device_id, at in devices.items()
            if at >= self._written.get((user_id, device_id), -_AGAIN) + _AGAIN
        }
        if due:
            async with self._redis.pipeline(transaction=False) as pipe:
                for (user_id, device_id), at in due.items():
                    pipe.hsetnx(_PRESENT + user_id, _SINCE, str(at))
                    pipe.hset(_PRESENT + user_id, device_id, str(at))
                    pipe.expire(_PRESENT + user_id, _KEPT_SECONDS)
                    pipe.hlen(_PRESENT + user_id)
                counts = (await pipe.execute())[3::4]
            known = zip(due, counts, strict=True)
            if crowded := {_PRESENT + user_id for (user_id, _), count in known if count > _MOST_DEVICES + 1}:
                await self._redis.delete(*crowded)
        self._written |= due
        self._forget(self._clock() - _FORGET)
        return 0

    def _forget(self, before: int) -> None:
        for user_id, devices in tuple(self._noted.items()):
            self._noted[user_id] = {device_id: at for device_id, at in devices.items() if at >= before}
            if not self._noted[user_id]:
                del self._noted[user_id]
        self._written = {device: at for device, at in self._written.items() if at >= before}

    async def _known(self, user_ids: Collection[str]) -> dict[str, list[tuple[str, int]]]:
        """The devices of each user and when they were there, and since when that is complete."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for user_id in user_ids:
                    pipe.hsetnx(_PRESENT + user_id, _SINCE, str(self._clock()))
                    pipe.expire(_PRESENT + user_id, _KEPT_SECONDS)
                    pipe.hgetall(_PRESENT + user_id)
                found = (await pipe.execute())[2::3]
        except (RedisError, OSError):
            return {}
        return {
            user_id: [(device, int(at)) for device, at in (*known.items(), *self._noted.get(user_id, {}).items())]
            for user_id, known in zip(user_ids, found, strict=True)
        }
