"""The session that each user is in, for GetCurrentFocusSession; Postgres has it too.

`pomodoro:stamp:<user>`     names the state of the user's sessions: another one after every change
`pomodoro:current:<user>`   the stamp of the state that was read, and the session of it as JSON

What was read before a change carries an older stamp, whenever it is stored: it is never shown. A replica that dies
after a commit and before it changes the stamp leaves the state before the commit to be shown, for a minute at most, or
until its client repeats the call.
"""

import secrets
from typing import NamedTuple

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from services.pomodoro.cache.documents import focus_of, row_of
from services.pomodoro.model import Focus

_STAMP, _CURRENT = "pomodoro:stamp:", "pomodoro:current:"
_STAMP_BYTES = 8
_SHOWN_SECONDS = 60
_STAMP_SECONDS = 86_400
"""Longer than anything that carries a stamp: what is shown, and a read."""


class Cached(NamedTuple):
    """What Redis knows of the session that a user is in."""

    stamp: str
    """Empty while Redis does not respond."""
    known: bool
    focus: Focus | None
    """None when the user is in no session, or nothing is known."""


class CurrentSessions:
    """Reads and fills the cache. Without Redis nothing is known, and nothing else changes."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def find(self, user_id: str) -> Cached:
        """The session that a user is in, if that is known; else the stamp to `put` it with after it was read."""
        try:
            stamp, entry = await self._redis.mget(_STAMP + user_id, _CURRENT + user_id)
            if stamp is None:
                return Cached(await self._new_stamp(user_id), False, None)
        except (RedisError, OSError):
            return Cached("", False, None)
        if entry is None or not entry.startswith(stamp):
            return Cached(stamp, False, None)
        row = orjson.loads(entry[len(stamp) :])
        return Cached(stamp, True, None if row is None else focus_of(row))

    async def put(self, user_id: str, stamp: str, focus: Focus | None) -> None:
        """Stores the session that was read after the stamp."""
        if not stamp:
            return
        content = orjson.dumps(None if focus is None else row_of(focus)).decode()
        try:
            await self._redis.set(_CURRENT + user_id, stamp + content, ex=_SHOWN_SECONDS)
        except (RedisError, OSError):
            return

    async def _new_stamp(self, user_id: str) -> str:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(_STAMP + user_id, _random(), ex=_STAMP_SECONDS, nx=True)
            pipe.get(_STAMP + user_id)
            stamp: str = (await pipe.execute())[1]
        return stamp


def change_stamp(pipe: "Pipeline", user_id: str) -> None:
    """Adds to a pipeline what makes everything older that is stored of a user invalid."""
    pipe.set(_STAMP + user_id, _random(), ex=_STAMP_SECONDS)


def _random() -> str:
    return secrets.token_hex(_STAMP_BYTES)
