"""Fan-out: this replica reads the streams of its connected users, over one connection, and hands every entry to each
listener of its user.

Redis keeps the entries, so nothing is kept here but what waits for a connection, and of that not much.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar

from redis.exceptions import RedisError

from mesh.runtime.errors import DependencyUnavailable, Overloaded, ServiceError
from mesh.runtime.lifecycle import SupervisedTask
from mesh.runtime.telemetry import meter
from services.realtime.cache.streams import FULL, PAGE, Streams, Tail
from services.realtime.errors import SlowConsumer, TooManyStreams
from services.realtime.model import Entry, Gap, Position
from services.realtime.settings import Settings

_WAIT_SECONDS = 1
"""How long one read waits: also how old the position of a quiet stream may be."""

_open_streams = meter.create_up_down_counter("focusmesh.realtime.streams", description="Open streams")
_ended_streams = meter.create_counter("focusmesh.realtime.streams.ended", description="Streams ended, by reason")


class Listener:
    """What waits for one connection. It holds little: when more comes it falls behind, and its connection reads the
    stream itself until it has caught up. A connection that takes nothing meanwhile is cut."""

    def __init__(self, limit: int, *, patience: float) -> None:
        """limit: entries that may wait. patience: seconds that a frame may take while the listener is behind."""
        self._limit, self._patience = limit, patience
        self._waiting: deque[Entry | Gap] = deque()
        self._arrived = asyncio.Event()
        self._handing_since: float | None = None
        self.behind = False
        """Whether entries were not kept: read the stream, after `resume`."""
        self.end: asyncio.Future[ServiceError] = asyncio.get_running_loop().create_future()
        """Done when the stream has to end, with what the client is told."""

    def offer(self, item: Entry | Gap) -> None:
        """Puts an item behind the others."""
        if self.behind or self.end.done():
            return
        if len(self._waiting) < self._limit:
            self._waiting.append(item)
            self._arrived.set()
        else:
            self.fall_behind()

    def fall_behind(self) -> None:
        """Keeps nothing until `resume`."""
        self.behind = True
        self._waiting.clear()
        self._arrived.set()

    def resume(self) -> None:
        """Keeps what is offered from now on; what came before must be read from the stream."""
        self.behind = False

    def finish(self, refusal: ServiceError) -> None:
        """Ends the stream; what still waits is dropped, since the client comes back with its cursor."""
        if not self.end.done():
            self.end.set_result(refusal)
            _ended_streams.add(1, {"reason": refusal.reason})
            self._waiting.clear()
            self._arrived.set()

    @contextmanager
    def handing(self) -> Iterator[None]:
        """Around giving one frame to the connection."""
        self._handing_since = time.monotonic()
        yield
        self._handing_since = None

    def require_pace(self) -> None:
        """Ends the stream when its connection takes nothing."""
        since = self._handing_since
        if self.behind and since is not None and time.monotonic() - since > self._patience:
            self.finish(SlowConsumer())

    async def next(self, seconds: float) -> Entry | Gap | None:
        """The next item; None when none came in time or the listener is behind. Raises what the stream ends with."""
        if not (self._waiting or self.behind or self.end.done()):
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        if self.end.done():
            raise self.end.result()
        return self._waiting.popleft() if self._waiting else None


class Feed:
    """One user's stream, as far as it was read."""

    def __init__(self) -> None:
        self.position: Position | None = None
        """Everything up to here was offered, and nothing is to come at or before it. None until it is known."""
        self.listeners: set[Listener] = set()

    def offer(self, item: Entry | Gap) -> None:
        """Hands an item to every listener."""
        self.position = item.position
        for listener in tuple(self.listeners):
            listener.offer(item)


class Feeds(SupervisedTask):
    """The streams of the users that are connected to this replica."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError, DependencyUnavailable)
    longest_backoff: ClassVar[float] = 0.1

    def __init__(self, streams: Streams, tail: Tail, settings: Settings) -> None:
        super().__init__("feeds")
        self._streams, self._tail, self._settings = streams, tail, settings
        self._feeds: dict[str, Feed] = {}
        self._count = 0
        self._refusing: ServiceError | None = None

    async def close(self, grace: float = 0.0) -> None:
        """Stops reading and closes the connections."""
        await super().close(grace)
        await self._tail.close()
        await self._streams.close()

    def end_all(self, refusal: ServiceError) -> None:
        """Ends every stream, and every one that is opened from now on."""
        self._refusing = refusal
        for feed in self._feeds.values():
            for listener in tuple(feed.listeners):
                listener.finish(refusal)

    async def attach(self, user_id: str, listener: Listener) -> Callable[[], None]:
        """Offers the listener everything that is added to the user's stream from now on; returns what detaches it.

        Raises TooManyStreams, Overloaded, or what Redis raises while it is away.
        """
        if self._refusing is not None:
            raise self._refusing
        if self._count >= self._settings.max_streams:
            raise Overloaded(retry_after=1.0)
        feed = self._feeds.setdefault(user_id, Feed())
        if len(feed.listeners) >= self._settings.streams_per_user:
            raise TooManyStreams(limit=self._settings.streams_per_user)
        feed.listeners.add(listener)
        self._count += 1
        _open_streams.add(1)

        def detach() -> None:
            if listener in feed.listeners:
                feed.listeners.discard(listener)
                self._count -= 1
                _open_streams.add(-1)
                if not feed.listeners and self._feeds.get(user_id) is feed:
                    del self._feeds[user_id]

        try:
            if feed.position is None:
                await self._begin(user_id, feed)
        except BaseException:
            detach()
            raise
        return detach

    def position(self, user_id: str) -> Position | None:
        """How far the user's stream was read and offered."""
        feed = self._feeds.get(user_id)
        return feed.position if feed else None

    async def _begin(self, user_id: str, feed: Feed) -> None:
        page = await self._streams.read_after(user_id, None)
        if feed.position is None:
            feed.position = page.tail
            await self._streams.wake(self._tail)

    async def run(self) -> None:
        """Catches up on what was missed while Redis was away, then follows."""
        await self._tail.reset()
        await self._streams.ping()
        for user_id, feed in tuple(self._feeds.items()):
            await self._catch_up(user_id, feed)
        self.succeeded()
        await self._follow()

    async def _follow(self) -> None:
        read_at: int | None = None
        while True:
            feeds = {user_id: feed for user_id, feed in self._feeds.items() if feed.position is not None}
            positions = {user_id: feed.position for user_id, feed in feeds.items() if feed.position is not None}
            instant, arrived = await self._tail.next(positions, wait_ms=_WAIT_SECONDS * 1000)
            late = read_at is not None and instant - read_at > self._settings.retention_seconds * 1000
            read_at = instant
            for user_id, feed in feeds.items():
                entries = arrived.get(user_id, [])
                if late or len(entries) >= FULL:
                    await self._catch_up(user_id, feed)
                else:
                    _hand_out(feed, entries, instant)

    async def _catch_up(self, user_id: str, feed: Feed) -> None:
        """Brings a stream up to now; where entries may be gone, says so to its listeners."""
        while feed.position is not None:
            page = await self._streams.read_after(user_id, feed.position)
            if page.lost:
                feed.offer(Gap(page.tail))
            for entry in page.entries:
                feed.offer(entry)
            if len(page.entries) < PAGE:
                break


def _hand_out(feed: Feed, entries: Sequence[Entry], instant: int) -> None:
    """Offers what was read. moment: when, by Redis's clock; a quiet stream is read up to just before it."""
    for entry in entries:
        feed.offer(entry)
    if feed.position is not None and not entries:
        feed.position = max(feed.position, Position(instant - 1, 0))
    for listener in feed.listeners:
        listener.require_pace()
