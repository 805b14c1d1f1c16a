"""Streams of the state of a session: at once, then after every change."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial

from mesh.rpc.identity import Identity
from mesh.rpc.revocations import Revocations
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.errors import ServiceError, TokenInvalid, TokenRevoked
from mesh.runtime.lifecycle import occurs
from services.pomodoro.cache import Watches
from services.pomodoro.errors import ShuttingDown
from services.pomodoro.handlers.writes import SessionStore, Writes
from services.pomodoro.model import Focus

_READ_AGAIN_SECONDS = 5.0
"""A change of which the message was lost is seen so late."""


class WatchStreams:
    """Opens streams."""

    def __init__(self, watches: Watches, writes: Writes, revocations: Revocations) -> None:
        self.watches, self._writes, self._revocations = watches, writes, revocations

    async def states(self, identity: Identity, session_id: str) -> AsyncGenerator[tuple[Focus | None, int], None]:
        """The states of a session, or of the one that the user is in, each with its instant.

        session_id: empty for the one that the user is in. Raises the error that ends the stream.
        """
        sent: Focus | None = None
        first = True
        with self.watches.open(identity.user_id) as changed, self._ending(identity, changed) as errors:
            while True:
                if errors or self.watches.closing:
                    raise errors[0] if errors else ShuttingDown
                changed.clear()
                now = self._writes.clock()
                focus = await self._read(identity.user_id, session_id, now)
                if sent is not None and (focus is None or focus.session.id != sent.session.id):
                    # How the one that the user was in ended.
                    last = await self._read(identity.user_id, sent.session.id, now, missing_ok=True)
                    if last is not None and last.session.version != sent.session.version:
                        yield last, now
                if first or _differ(sent, focus):
                    yield focus, now
                sent, first = focus, False
                await occurs(changed, within=_READ_AGAIN_SECONDS)

    async def _read(self, user_id: str, session_id: str, now: int, *, missing_ok: bool = False) -> Focus | None:
        async def find(stored: SessionStore) -> Focus | None:
            if not session_id:
                return await stored.find_current_state(user_id)
            return await (stored.find_state if missing_ok else stored.get_state)(user_id, session_id)

        return await self._writes.shown(find, now)

    @contextmanager
    def _ending(self, identity: Identity, changed: asyncio.Event) -> Iterator[list[ServiceError]]:
        """Sets `changed` and adds an error when the token ends or its session is revoked."""
        errors: list[ServiceError] = []

        def end(kind: type[ServiceError]) -> None:
            errors.append(kind())
            changed.set()

        def end_if_revoked() -> None:
            if self._revocations.ended(identity.user_id, identity.session_id, identity.issued):
                end(TokenRevoked)

        unwatch = self._revocations.watch(identity.user_id, identity.session_id, end_if_revoked)
        left = identity.expires - clock.now() / SECOND
        expiry = asyncio.get_running_loop().call_later(max(0.0, left), partial(end, TokenInvalid))
        # The session may have been revoked after the token was verified and before the watch began.
        end_if_revoked()
        try:
            yield errors
        finally:
            expiry.cancel()
            unwatch()


def _differ(sent: Focus | None, focus: Focus | None) -> bool:
    if sent is None or focus is None:
        return sent is not focus
    return (sent.session.id, sent.session.version) != (focus.session.id, focus.session.version)
