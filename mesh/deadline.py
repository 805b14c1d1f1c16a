"""The deadline: ends a call a moment before its caller gives up, so that the caller is told why.

gRPC ends a call by itself, with two words and none of the details that every other refusal has. It still does when the
event loop is late.
"""

import asyncio

_MARGIN_SECONDS, _MARGIN_SHARE = 0.05, 0.05
"""For the refusal to be written and to arrive; at most this share of the time that there is."""


class Deadline:
    """Cancels the task that made it; `passed` tells that cancellation from the caller's own."""

    __slots__ = ("_task", "_timer", "passed")

    def __init__(self, seconds: float | None) -> None:
        """seconds: until the caller gives up; None when it waits for ever."""
        self.passed = False
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        if seconds is not None:
            margin = min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds - margin), self._pass)

    def clear(self) -> None:
        """The call has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        if self._task is not None:
            self._task.cancel()
