"""How many rows of a table one user may have.

A count with every write would cost more than the write, and a counter beside the table makes the writes of a user wait
for one another. So a write is looked at by chance, one in a thousandth of the bound: a user passes it by that many
rows on average (100 of 100,000), once, for whoever was found to be full is looked at every time from then on.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable

from mesh.database.connection import Connection
from mesh.runtime.errors import ServiceError

_SHARE = 1000
_REFUSED_SECONDS = 10.0
"""For how long a full user is refused without another count."""
_MOST_FULL = 10_000
"""Full users that a process knows."""


class Quota:
    """A bound of a table that has a column `user_id` and an index that begins with it."""

    def __init__(
        self,
        table: str,
        most: int,
        error: Callable[..., ServiceError],
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """error: gets `limit`. chance: from 0 to 1."""
        self._most, self._error, self._chance, self._clock = most, error, chance, clock
        self._count = f"SELECT count(*) FROM (SELECT FROM {table} WHERE user_id = %s::uuid LIMIT {most}) AS rows"
        self._full = OrderedDict[str, float]()
        """When to count again, by user."""

    async def require(self, connection: Connection, user_id: str, more: int = 1) -> None:
        """Raises the error when the user cannot have so many more rows."""
        again = self._full.get(user_id)
        if again is None and self._chance() * max(1, self._most // _SHARE) >= more:
            return
        if again is not None and self._clock() < again:
            raise self._error(limit=self._most)
        cursor = await connection.execute(self._count, (user_id,))
        row = await cursor.fetchone()
        count = row[0] if row else 0
        self._full.pop(user_id, None)
        if count >= self._most:
            self._full[user_id] = self._clock() + _REFUSED_SECONDS
            if len(self._full) > _MOST_FULL:
                self._full.popitem(last=False)
        if count + more > self._most:
            raise self._error(limit=self._most)
