"""Deadlines: a call ends a moment before its caller gives up, so that the caller is told why.

gRPC ends a call by itself, with two words and none of the details that every other refusal has. It still does when the
event loop is late.
"""

import asyncio

_MARGIN_SECONDS, _MARGIN_SHARE = 0.05, 0.05
"""For the refusal to be written and to arrive; at most this share of the time that there is."""
_LOOK_SECONDS = 0.005


class Deadline:
    """One call's; `passed` tells its cancellation from the caller's own."""

    __slots__ = ("at", "passed", "task")

    def __init__(self, at: float) -> None:
        """at: by the clock of the event loop."""
        self.at, self.passed = at, False
        self.task = asyncio.current_task()


class Deadlines:
    """Those of the calls that run, looked at together: a timer for each costs 3 µs when hot, more in a busy server."""

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._looking = False

    def begin(self, seconds: float | None) -> Deadline:
        """The deadline of the call whose task this is; it is cancelled then, unless `end` comes first.

        seconds: until the caller gives up; None when it waits for ever.
        """
        if seconds is None:
            return Deadline(0)
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time() + seconds - min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE))
        self._running.add(deadline)
        if not self._looking:
            self._looking = True
            loop.call_later(_LOOK_SECONDS, self._look, loop)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """The call has ended."""
        self._running.discard(deadline)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for deadline in [each for each in self._running if each.at <= now]:
            self._running.discard(deadline)
            if deadline.task is not None:
                deadline.passed = deadline.task.cancel()
        self._looking = bool(self._running)
        if self._looking:
            loop.call_later(_LOOK_SECONDS, self._look, loop)
