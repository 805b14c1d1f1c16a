"""Who is sent to at the moment, and who has to wait for others."""

import asyncio
import time

_MOST_SUSPECTS = 1000


class Places:
    """The places of a channel: each message that is being sent takes one.

    Targets that users give may hang. Users whose messages fail get half of the places at most, so that others always
    find one.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._taken: dict[asyncio.Task[None], str] = {}
        self._suspects: dict[str, None] = {}
        """Users whose last message failed, the latest of them last."""
        self._left_out: dict[str, float] = {}

    @property
    def tasks(self) -> list["asyncio.Task[None]"]:
        """What is being sent."""
        return list(self._taken)

    @property
    def room(self) -> int:
        """How many places are free."""
        return self._capacity - len(self._taken)

    @property
    def room_of_suspects(self) -> int:
        """How many of them may go to users whose messages fail."""
        return min(self.room, self._capacity // 2 - sum(user in self._suspects for user in self._taken.values()))

    @property
    def suspects(self) -> set[str]:
        """Users whose last message failed."""
        return set(self._suspects)

    @property
    def busy(self) -> set[str]:
        """Users who get nothing more now."""
        now = time.monotonic()
        self._left_out = {user: until for user, until in self._left_out.items() if until > now}
        return set(self._taken.values()).union(self._left_out)

    def take(self, task: "asyncio.Task[None]", user_id: str) -> None:
        """A message to a user is being sent."""
        self._taken[task] = user_id

    def free(self, task: "asyncio.Task[None]") -> None:
        """It has ended."""
        del self._taken[task]

    def note(self, user_id: str, *, worked: bool) -> None:
        """How a message to a user ended."""
        self._suspects.pop(user_id, None)
        if not worked:
            self._suspects[user_id] = None
            if len(self._suspects) > _MOST_SUSPECTS:
                del self._suspects[next(iter(self._suspects))]

    def leave_out(self, user_id: str, seconds: float) -> None:
        """Leaves a user out for a while."""
        self._left_out[user_id] = time.monotonic() + seconds
