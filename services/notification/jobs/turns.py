"""Who writes what messages have taught of their users: one of a user at a time, and few at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

_MOST = 3
"""That write at once, of the eight connections that a process has."""


class Turns:
    """Where results wait for each other, and not in the database.

    Noting one locks its user, whom a pass of a channel may have locked for a while. All messages of that user that have
    ended meanwhile would wait with a connection each, and leave none for the calls of others.
    """

    def __init__(self) -> None:
        self._users: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._places = asyncio.Semaphore(_MOST)

    @asynccontextmanager
    async def of(self, user_id: str) -> AsyncIterator[None]:
        """The turn of a user, in the order of those who wait."""
        user = self._users.setdefault(user_id, asyncio.Lock())
        async with user, self._places:
            yield
