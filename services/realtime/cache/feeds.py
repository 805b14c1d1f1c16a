"""Fan-out: this replica reads the streams of its connected users over one connection, and passes every entry to each
listener of its user.

Redis stores the entries; only a bounded queue per connection is held here.
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
from services.realtime.cache.streams import READ_LIMIT, TAIL_LIMIT, Streams, Tail
from services.realtime.errors import SlowConsumer, TooManyStreams
from services.realtime.model import Entry, Gap, Position
from services.realtime.settings import Settings

_WAIT_SECONDS = 1
"""How long one read blocks, and so the greatest age of the position of a quiet stream."""

_open_streams = meter.create_up_down_counter("focusmesh.realtime.streams", description="Open streams")
_ended_streams = meter.create_counter("focusmesh.realtime.streams.ended", description="Streams ended, by reason")


class Listener:
    """The bounded queue of one connection. When it overflows the listener is behind: the connection reads the stream
    from Redis until it has caught up. A connection that accepts no frame while others wait is closed."""

    def __init__(self, limit: int, *, patience: float) -> None:
        """limit: items in the queue. patience: seconds that sending one frame may take while another one waits."""
        self._limit, self._patience = limit, patience
        self._waiting: deque[Entry | Gap] = deque()
        self._arrived = asyncio.Event()
        self._sending_since: float | None = None
        self._more = False
        self.behind = False
        """Whether entries were dropped: call `resume`, then read the stream."""
        self.end: asyncio.Future[ServiceError] = asyncio.get_running_loop().create_future()
        """Done when the stream has to end; its result is the error for the client."""

    def offer(self, item: Entry | Gap) -> None:
        """Queues an item."""
        if self.behind or self.end.done():
            return
        if len(self._waiting) < self._limit:
            self._waiting.append(item)
            self._arrived.set()
        else:
            self.fall_behind()

    def fall_behind(self) -> None:
        """Drops the queue, and every item until `resume`."""
        self.behind = True
        self._waiting.clear()
        self._arrived.set()

    def resume(self) -> None:
        """Queues items again; the caller reads what came before from the stream."""
        self.behind = False

    def finish(self, error: ServiceError) -> None:
        """Ends the stream and drops its queue: the client resumes from its cursor."""
        if not self.end.done():
            self.end.set_result(error)
            _ended_streams.add(1, {"reason": error.reason})
            self._waiting.clear()
            self._arrived.set()

    @contextmanager
    def sending(self, *, more: bool = False) -> Iterator[None]:
        """Wraps the sending of one frame. more: whether the connection already holds the next one."""
        self._sending_since, self._more = time.monotonic(), more
        yield
        self._sending_since = None

    def require_pace(self) -> None:
        """Ends the stream when one frame has taken longer than its patience and another one waits."""
        since, waits = self._sending_since, self.behind or self._more or bool(self._waiting)
        if waits and since is not None and time.monotonic() - since > self._patience:
            self.finish(SlowConsumer())

    async def next(self, seconds: float) -> Entry | Gap | None:
        """The next item; None after `seconds` or when the listener is behind. Raises the error that ends the stream."""
        if not (self._waiting or self.behind or self.end.done()):
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        if self.end.done():
            raise self.end.result()
        return self._waiting.popleft() if self._waiting else None


class Feed:
    """One user's stream and the listeners of this replica."""

    def __init__(self) -> None:
        self.position: Position | None = None
        """Every entry up to here was offered, and every future entry is greater. None until it is known."""
        self.listeners: set[Listener] = set()

    def offer(self, item: Entry | Gap) -> None:
        """Offers an item to every listener."""
        self.position = item.position
        for listener in tuple(self.listeners):
            listener.offer(item)


class Feeds(SupervisedTask):
    """Reads the streams of the users that are connected to this replica."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError, DependencyUnavailable)
    longest_backoff: ClassVar[float] = 0.1

    def __init__(self, streams: Streams, tail: Tail, settings: Settings) -> None:
        super().__init__("feeds")
        self._streams, self._tail, self._settings = streams, tail, settings
        self._feeds: dict[str, Feed] = {}
        self._count = 0
        self._closed_with: ServiceError | None = None

    async def close(self, grace: float = 0.0) -> None:
        """Stops reading and closes the connections."""
        await super().close(grace)
        await self._tail.close()
        await self._streams.close()

    def close_all(self, error: ServiceError) -> None:
        """Ends every stream, and refuses to open another one."""
        self._closed_with = error
        for feed in self._feeds.values():
            for listener in tuple(feed.listeners):
                listener.finish(error)

    async def attach(self, user_id: str, listener: Listener) -> Callable[[], None]:
        """Offers the listener every entry that is added to the user's stream from now on; returns what detaches it.

        Raises TooManyStreams, Overloaded, or an error of Redis.
        """
        if self._closed_with is not None:
            raise self._closed_with
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
        """How far the user's stream was read and offered; None when it is not followed."""
        feed = self._feeds.get(user_id)
        return feed.position if feed else None

    async def _begin(self, user_id: str, feed: Feed) -> None:
        page = await self._streams.read_after(user_id, None)
        if feed.position is None:
            feed.position = page.tail
            await self._streams.wake(self._tail)

    async def run(self) -> None:
        """Reads what was missed while Redis was unreachable, then follows the streams."""
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
                if late or len(entries) >= TAIL_LIMIT:
                    await self._catch_up(user_id, feed)
                else:
                    _offer_entries(feed, entries, instant)

    async def _catch_up(self, user_id: str, feed: Feed) -> None:
        """Reads a stream up to its end; offers a Gap when entries may be lost."""
        while feed.position is not None:
            page = await self._streams.read_after(user_id, feed.position)
            if page.lost:
                feed.offer(Gap(page.tail))
            for entry in page.entries:
                feed.offer(entry)
            if len(page.entries) < READ_LIMIT:
                break


def _offer_entries(feed: Feed, entries: Sequence[Entry], instant: int) -> None:
    """Offers what was read. instant: of the read, in milliseconds; a quiet stream is read up to just before it."""
    for entry in entries:
        feed.offer(entry)
    if feed.position is not None and not entries:
        feed.position = max(feed.position, Position(instant - 1, 0))
    for listener in feed.listeners:
        listener.require_pace()
