"""Whose sessions changed, passed on to the watches of every replica.

`pomodoro:changes`   channel: ids of users whose sessions changed, each in a line with the stamp since (`current.py`)
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from mesh.runtime.lifecycle import PeriodicTask, SupervisedTask, occurs
from services.pomodoro.cache.current import STAMP, STAMP_SECONDS, CurrentSessions, new_stamp
from services.pomodoro.errors import TooManyWatches

_CHANGES = "pomodoro:changes"
_LISTEN_SECONDS = 1.0
_REST_SECONDS = 0.005
_LONGEST_FLUSH_SECONDS = 0.1


class Watches:
    """The open watches of this replica."""

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._open: dict[str, set[asyncio.Event]] = {}
        self.closing = False

    @contextmanager
    def open(self, user_id: str) -> Iterator[asyncio.Event]:
        """A watch: its event is set whenever a session of the user may have changed. Raises TooManyWatches."""
        watches = self._open.setdefault(user_id, set())
        if len(watches) >= self._per_user:
            raise TooManyWatches(limit=self._per_user)
        changed = asyncio.Event()
        watches.add(changed)
        try:
            yield changed
        finally:
            watches.discard(changed)
            if not watches and self._open.get(user_id) is watches:
                del self._open[user_id]

    def wake(self, user_id: str) -> None:
        """A session of the user changed."""
        for changed in self._open.get(user_id, ()):
            changed.set()

    def wake_all(self) -> None:
        """Any session may have changed."""
        for user_id in tuple(self._open):
            self.wake(user_id)

    def close(self) -> None:
        """Ends every watch: the service stops."""
        self.closing = True
        self.wake_all()


class ChangeSender(PeriodicTask):
    """Tells all replicas whose sessions changed, and invalidates what is cached of them."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError)
    longest_backoff: ClassVar[float] = 0.1
    """So long, at most, other replicas show what was cached before an outage of Redis."""

    def __init__(self, redis: "Redis", watches: Watches, cache: CurrentSessions) -> None:
        super().__init__("send changes")
        self._redis, self._watches, self._cache = redis, watches, cache
        self._pending: set[str] = set()
        self._sending: set[str] = set()
        self._sent = asyncio.Event()
        """Set when the pass ends that takes what is pending."""
        self._running = self._sent
        """The same of the pass that runs, or ran last."""

    def send(self, user_id: str) -> None:
        """A session of the user changed; call it after the change has committed."""
        self._watches.wake(user_id)
        self._pending.add(user_id)
        self.wake()

    def sent(self, user_id: str) -> bool:
        """Whether every change of the user was sent; False while Redis takes nothing: what is cached may be older."""
        return self._works and user_id not in self._pending and user_id not in self._sending

    def pause_after(self, done: int) -> float:  # noqa: ARG002 (however many)
        """What comes within the next milliseconds is sent together."""
        return _REST_SECONDS

    async def flush(self) -> None:
        """Waits until what is pending was sent, but not for a Redis that does not respond.

        A call that changed a session returns after that: whoever reads because of its response sees the change.
        """
        last = self._sent if self._pending else self._running
        if self._works and not last.is_set():
            await occurs(last, within=_LONGEST_FLUSH_SECONDS)

    async def run_once(self) -> int:
        """Sends what is pending; what Redis does not take stays pending."""
        self._sending, self._pending = self._pending, set()
        self._running, self._sent = self._sent, asyncio.Event()
        try:
            if self._sending:
                await self._send(self._sending)
            return len(self._sending)
        except BaseException:
            self._pending |= self._sending
            raise
        finally:
            self._sending = set()
            self._running.set()

    async def _send(self, user_ids: set[str]) -> None:
        stamps = {user_id: new_stamp() for user_id in user_ids}
        async with self._redis.pipeline(transaction=False) as pipe:
            for user_id, stamp in stamps.items():
                pipe.set(STAMP + user_id, stamp, ex=STAMP_SECONDS)
            pipe.publish(_CHANGES, "\n".join(map(" ".join, stamps.items())))
            await pipe.execute()
        for user_id, stamp in stamps.items():
            self._cache.changed(user_id, stamp)


class ChangeListener(SupervisedTask):
    """Wakes the watches of users whose sessions changed at another replica, and forgets what is cached of them."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError)
    longest_backoff: ClassVar[float] = 1.0

    def __init__(self, redis: "Redis", watches: Watches, cache: CurrentSessions) -> None:
        super().__init__("listen to changes")
        self._redis, self._watches, self._cache = redis, watches, cache

    @property
    def ready(self) -> bool:
        """True: without it the watches read by themselves, every few seconds."""
        return True

    async def run(self) -> None:
        """Listens; after every new subscription all watches read, since changes may have been missed."""
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(_CHANGES)
            while True:
                message = await pubsub.get_message(timeout=_LISTEN_SECONDS)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self.succeeded()
                    self._watches.wake_all()
                elif message["type"] == "message":
                    for line in message["data"].splitlines():
                        user_id, _, stamp = line.partition(" ")
                        self._cache.changed(user_id, stamp)
                        self._watches.wake(user_id)
