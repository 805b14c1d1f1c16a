"""One open stream, of gRPC or WebSocket: which frames it sends and what ends it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from focusmesh.realtime.v1.realtime_event_pb2 import RealtimeEvent

from mesh.rpc.identity import Identity
from mesh.rpc.revocations import Revocations
from mesh.runtime.clock import SECOND, Clock
from mesh.runtime.errors import ServiceError, TokenInvalid, TokenRevoked
from mesh.runtime.slices import in_slices
from services.realtime import wire
from services.realtime.cache.feeds import Feeds, Listener
from services.realtime.cache.streams import READ_LIMIT, Streams
from services.realtime.model import Entry, Gap, Heartbeat, Position
from services.realtime.rules import position_of
from services.realtime.settings import Settings

LARGE_FRAME = 16 * 1024
"""Bytes; up to here a frame is made in 0.1 ms, and becomes JSON in half a millisecond."""


class StreamSession:
    """An open stream of one user."""

    def __init__(
        self, sessions: "StreamSessions", user_id: str, after: Position | None, closes: int, listener: Listener
    ) -> None:
        """after: the client's cursor; None to begin now. closes: when its token expires, microseconds."""
        self._sessions, self._user_id, self._after, self._closes = sessions, user_id, after, closes
        self._listener, self._settings = listener, sessions.settings

    @property
    def end(self) -> "asyncio.Future[ServiceError]":
        """Done when the stream has to end, possibly while a frame is being sent; its result is the error."""
        return self._listener.end

    async def frames(self) -> AsyncGenerator[RealtimeEvent, None]:
        """Every frame, without gaps and each change once; raises the error that ends the stream."""
        if self._after is None:
            position = (await self._sessions.streams.read_after(self._user_id, None)).tail
        else:
            position = self._after
            self._listener.fall_behind()
        yield wire.opened_frame(
            position,
            now=self._sessions.clock(),
            heartbeat_seconds=self._settings.heartbeat_seconds,
            closes=self._closes,
        )
        while True:
            items = await self._next(position)
            for count, item in enumerate(items, 1):
                if isinstance(item, Entry) and item.position <= position:
                    continue
                position = item.position
                frame = await self._frame(item)
                with self._listener.sending(more=count < len(items)):
                    yield frame

    async def _next(self, position: Position) -> Sequence[Entry | Gap | Heartbeat]:
        """The next items: read from the stream while the listener is behind, otherwise from its queue."""
        if not self._listener.behind:
            item = await self._listener.next(self._settings.heartbeat_seconds)
            if item is not None:
                return [item]
            if not self._listener.behind:
                read = self._sessions.feeds.position(self._user_id)
                return [Heartbeat(position if read is None else max(position, read))]
        if self.end.done():
            raise self.end.result()
        self._listener.resume()
        page = await self._sessions.streams.read_after(self._user_id, position)
        if len(page.entries) == READ_LIMIT:
            self._listener.fall_behind()
        return [Gap(page.tail)] if page.lost else page.entries

    async def _frame(self, item: Entry | Gap | Heartbeat) -> RealtimeEvent:
        if isinstance(item, Heartbeat):
            return wire.heartbeat_frame(item.position, now=self._sessions.clock())
        if isinstance(item, Gap) or not item.change:
            return wire.resync_frame(item.position, retention_seconds=self._settings.retention_seconds)
        if len(item.change) <= LARGE_FRAME:
            return wire.change_frame(item)
        # Every device of the user is about to send the same: one after the other, not all in one piece.
        [frame] = await in_slices(map(wire.change_frame, [item]))
        return frame


class StreamSessions:
    """Opens streams."""

    def __init__(
        self, feeds: Feeds, streams: Streams, revocations: Revocations, clock: Clock, settings: Settings
    ) -> None:
        self.feeds, self.streams, self.clock, self.settings = feeds, streams, clock, settings
        self._revocations = revocations

    @asynccontextmanager
    async def open(self, identity: Identity, cursor: str) -> AsyncIterator[StreamSession]:
        """Opens a stream at a cursor, or now when the cursor is empty.

        It ends when the token expires or its session is revoked. Raises CursorInvalid, TooManyStreams, Overloaded.
        """
        after = position_of(cursor) if cursor else None
        listener = Listener(self.settings.queue_frames, patience=self.settings.patience_seconds)
        detach = await self.feeds.attach(identity.user_id, listener)
        closes = identity.expires * SECOND

        def end_if_revoked() -> None:
            if self._revocations.ended(identity.user_id, identity.session_id, identity.issued):
                listener.finish(TokenRevoked())

        unwatch = self._revocations.watch(identity.user_id, identity.session_id, end_if_revoked)
        expiry = asyncio.get_running_loop().call_later(
            max(0, closes - self.clock()) / SECOND, listener.finish, TokenInvalid()
        )
        # The session may have been revoked after the token was verified and before the watch began.
        end_if_revoked()
        try:
            yield StreamSession(self, identity.user_id, after, closes, listener)
        finally:
            expiry.cancel()
            unwatch()
            detach()
