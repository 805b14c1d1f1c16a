"""How much of a service's tables the calls of one user fill: stored responses, and events that wait for Kafka.

No call asks the database: sizes are counted here as they are written, and each time that a user has written some MiB, a
task measures what is there. A user with more than `MOST_BYTES` is refused until some of it is gone. So a bound is
exceeded by at most `_MEASURED_BYTES` for each replica, and what is written while one statement measures.
"""

from itertools import islice
from typing import ClassVar

from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.errors import DependencyUnavailable, Overloaded
from mesh.runtime.lifecycle import PeriodicTask

MOST_BYTES = 64 * 1024 * 1024
"""Of one user: of stored responses, which are kept for a day, and as much of events."""
_MEASURED_BYTES = 4 * 1024 * 1024
_ROW_BYTES = 256
"""What a row costs beside its content."""
_MOST_USERS = 20_000
"""Who are counted at a time; the one counted longest is forgotten."""
_BATCH = 20
_RETRY_SECONDS = 10.0

_MEASURE = f"""
    SELECT (SELECT coalesce(sum(octet_length(response) + {_ROW_BYTES}), 0) FROM idempotency WHERE user_id = %s::uuid),
        (SELECT coalesce(sum(octet_length(value) + {_ROW_BYTES}), 0) FROM outbox WHERE shard = %s AND key = %s)"""


class ShareExhausted(Overloaded):
    """The calls of the user fill more than one user's share of the service's tables."""

    message = "Your calls have stored more than is kept for one user. Try again when some of it is gone."


class Shares(PeriodicTask):
    """Counts, measures and refuses. Every replica does so for what it writes."""

    expected: ClassVar[tuple[type[Exception], ...]] = (DependencyUnavailable,)
    longest_wait: ClassVar[float] = 5.0
    longest_backoff: ClassVar[float] = longest_wait

    def __init__(self, db: Database) -> None:
        super().__init__("measure shares")
        self.db = db
        self._written: dict[str, int] = {}
        self._due: set[str] = set()
        self._full: dict[str, tuple[bool, bool]] = {}
        """Of whom too much is there: whether of responses, and whether of events."""

    def start(self) -> None:
        """Counts from now on."""
        outbox.add_size_listener(self.count)
        _running.append(self)
        super().start()

    async def close(self, grace: float = 5.0) -> None:
        """Refuses nobody any more."""
        if self in _running:
            _running.remove(self)
            outbox.remove_size_listener(self.count)
        await super().close(grace)

    def count(self, user_id: str, size: int) -> None:
        """So many bytes were written for a user."""
        written = self._written.pop(user_id, 0) + size + _ROW_BYTES
        if written >= _MEASURED_BYTES:
            self._due.add(user_id)
            self.wake()
            return
        self._written[user_id] = written
        if len(self._written) > _MOST_USERS:
            del self._written[next(iter(self._written))]

    def require_room(self, user_id: str, side_effects: SideEffects) -> None:
        """Raises ShareExhausted when what the write would add to is full."""
        responses, events = self._full.get(user_id, (False, False))
        if (responses and side_effects.response is not None) or (events and side_effects.events):
            raise ShareExhausted(retry_after=_RETRY_SECONDS)

    async def run_once(self) -> int:
        """Measures users who have written much, and those who are refused; returns 0. Raises the last failure at the
        end: whoever cannot be measured is refused or not as before, and measured in the next pass or in turn."""
        failure: Exception | None = None
        for user_id in dict.fromkeys([*self._due, *islice(self._full, _BATCH)]):
            self._due.discard(user_id)
            found = self._full.get(user_id, (False, False))
            try:
                found = await self._measure(user_id)
            except Exception as error:  # noqa: BLE001 (the others are measured all the same)
                failure = error
                self._due.update({user_id} - self._full.keys())
            self._full.pop(user_id, None)  # to the end, so that all are measured in turn
            if any(found):
                self._full[user_id] = found
        if failure is not None:
            raise failure
        return 0

    async def _measure(self, user_id: str) -> tuple[bool, bool]:
        async with self.db.connection() as connection:
            cursor = await connection.execute(_MEASURE, (user_id, outbox.shard(user_id), user_id))
            [(responses, events)] = await cursor.fetchall()
        return responses >= MOST_BYTES, events >= MOST_BYTES


_running: list[Shares] = []


def require_room(user_id: str, side_effects: SideEffects) -> None:
    """Raises ShareExhausted when the user's share of this service is full; asks nothing of the database."""
    for shares in _running:
        shares.require_room(user_id, side_effects)
