"""The session that each user is in, for GetCurrentFocusSession; Postgres has it too.

`pomodoro:stamp:<user>`     names the state of the user's sessions: another one after every change
`pomodoro:current:<user>`   the stamp of the state that was read, and the session of it as JSON

What was read before a change carries an older stamp, whenever it is stored: it is never shown. A replica that dies
after a commit and before it changes the stamp leaves the state before the commit to be shown, for a minute at most, or
until its client repeats the call.

Every replica hears of changes, so reads after one ask Postgres at once. What the second of them read is stored, in the
background and together with what others read: most states are read once, and storing each cost a fifth of a read's CPU.
"""

import secrets
from collections import OrderedDict
from typing import ClassVar, NamedTuple

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from mesh.runtime.lifecycle import PeriodicTask
from services.pomodoro.cache.documents import focus_of, row_of
from services.pomodoro.model import Focus

STAMP = "pomodoro:stamp:"
STAMP_SECONDS = 86_400
"""Longer than anything that carries a stamp: what is shown, and a read."""
_CURRENT = "pomodoro:current:"
_SHOWN_SECONDS = 60
_REST_SECONDS = 0.005
_LARGEST = 32 * 1024
"""Characters; a larger session is read from Postgres each time: users share the memory of Redis."""
_MOST_CHANGED = 20_000


class Cached(NamedTuple):
    """What Redis knows of the session that a user is in."""

    stamp: str
    """Empty when what is read is not to be stored, or while Redis does not respond."""
    known: bool
    focus: Focus | None
    """None when the user is in no session, or nothing is known."""


UNKNOWN = Cached("", False, None)
"""Read from Postgres, and not stored."""


class CurrentSessions(PeriodicTask):
    """Reads and fills the cache. Without Redis nothing is known, and nothing else changes."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError)

    def __init__(self, redis: "Redis") -> None:
        super().__init__("cache current sessions")
        self._redis = redis
        self._changed: OrderedDict[str, tuple[str, bool]] = OrderedDict()
        """The stamp of the last change of a user, and whether somebody read since; until it is read again."""
        self._read: dict[str, tuple[str, Focus | None]] = {}

    def changed(self, user_id: str, stamp: str) -> None:
        """A session of the user changed, and this is the stamp since."""
        self._changed[user_id] = stamp, False
        if len(self._changed) > _MOST_CHANGED:
            self._changed.popitem(last=False)

    async def find(self, user_id: str) -> Cached:
        """The session that a user is in, if that is known; else the stamp to `put` it with after it was read."""
        if user_id in self._changed:
            return self._after_change(user_id)
        try:
            stamp, entry = await self._redis.mget(STAMP + user_id, _CURRENT + user_id)
            if stamp is None:
                return Cached(await self._begin(user_id), False, None)
        except (RedisError, OSError):
            return UNKNOWN
        if entry is None or not entry.startswith(stamp):
            return Cached(stamp, False, None)
        row = orjson.loads(entry[len(stamp) :])
        return Cached(stamp, True, None if row is None else focus_of(row))

    def put(self, user_id: str, stamp: str, focus: Focus | None) -> None:
        """Stores the session that was read after the stamp, soon."""
        if stamp:
            self._read[user_id] = stamp, focus
            self.wake()

    def pause_after(self, done: int) -> float:  # noqa: ARG002 (however many)
        """What is read within the next milliseconds is stored together."""
        return _REST_SECONDS

    async def run_once(self) -> int:
        """Stores what was read; returns how many sessions. What Redis does not take is read from Postgres again."""
        read, self._read = self._read, {}
        if read:
            async with self._redis.pipeline(transaction=False) as pipe:
                for user_id, (stamp, focus) in read.items():
                    content = orjson.dumps(None if focus is None else row_of(focus)).decode()
                    if len(content) <= _LARGEST:
                        pipe.set(_CURRENT + user_id, stamp + content, ex=_SHOWN_SECONDS)
                await pipe.execute()
        return len(read)

    def _after_change(self, user_id: str) -> Cached:
        stamp, was_read = self._changed.pop(user_id)
        if was_read:
            return Cached(stamp, False, None)
        self._changed[user_id] = stamp, True
        return UNKNOWN

    async def _begin(self, user_id: str) -> str:
        """The stamp of a user who has none: Redis has lost it, or nothing changed for a day."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(STAMP + user_id, new_stamp(), ex=STAMP_SECONDS, nx=True)
            pipe.get(STAMP + user_id)
            stamp: str = (await pipe.execute())[1]
        return stamp


def new_stamp() -> str:
    """Another one each time; always of the same length."""
    return secrets.token_hex(8)
