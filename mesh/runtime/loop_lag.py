"""How long whoever waits for an event loop waits for others: measured in every service, logged when it is too long.

A timer that comes late shows it: from the instant at which it was due to its turn, the loop did what is taken for one
piece of work. It is one turn, which runs all callbacks that are ready: many short ones look like a long one.
CPU is that of the loop's thread, so that a busy machine does not count; what is late without CPU waited for the
machine, or for a call that blocks. A piece is seen shorter than it was by one interval at most.
"""

import asyncio
import logging
import sys
import threading
import time

from mesh.runtime.lifecycle import Component
from mesh.runtime.telemetry import latency_histogram

log = logging.getLogger(__name__)

ALERT_SECONDS = 0.05
"""CPU that a piece of work may take: docs/neighbours.md."""
BLOCKED_SECONDS = 0.25
"""How late a turn may be without CPU before that is logged too."""
_INTERVAL_SECONDS = 0.02
_LOG_EACH_SECONDS = 1.0
"""Between two reports of pieces, and between two of lateness without CPU."""
_FRAMES = 6


class LoopLag(Component):
    """Measures the event loop that starts it, and samples what runs while a turn is late."""

    def __init__(self, interval: float = _INTERVAL_SECONDS) -> None:
        """interval: seconds between two turns; a thousandth for measuring exactly, at 3 % of a processor."""
        self.longest_piece = 0.0
        """The most CPU that a piece took since the start; seconds."""
        self._interval = interval
        self._pieces = latency_histogram("focusmesh.event_loop.piece")
        self._lateness = latency_histogram("focusmesh.event_loop.lag")
        self._due = self._spent = 0.0
        self._logged = dict.fromkeys((False, True), float("-inf"))
        """When the loop was reported last: for what it waited for, and for a piece of work."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = threading.Event()
        self._sampled: tuple[float, str] = (0.0, "")
        """The instant at which a late turn was due, and what ran instead."""

    def start(self) -> None:
        """Begins to measure the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._wait()
        threading.Thread(target=self._sample, name="loop lag", daemon=True).start()

    async def close(self) -> None:
        """Ends measuring; idempotent, also without a start."""
        self._closed.set()
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._due, self._spent = self._loop.time() + self._interval, time.thread_time()
        self._timer = self._loop.call_at(self._due, self._take_turn)

    def _take_turn(self) -> None:
        late = max(0.0, self._loop.time() - self._due)
        piece = min(late, time.thread_time() - self._spent)
        self._lateness.record(late)
        self._pieces.record(piece)
        self.longest_piece = max(self.longest_piece, piece)
        if piece > ALERT_SECONDS or late > BLOCKED_SECONDS:
            self._report(late, piece)
        self._wait()

    def _report(self, late: float, piece: float) -> None:
        is_piece = piece > ALERT_SECONDS
        if self._loop.time() - self._logged[is_piece] < _LOG_EACH_SECONDS:
            return
        self._logged[is_piece] = self._loop.time()
        due, running = self._sampled
        fields = {"lag_ms": round(late * 1000), "cpu_ms": round(piece * 1000)}
        log.warning(
            "the event loop was kept for %d ms, %d ms of them CPU; it ran %s",
            fields["lag_ms"],
            fields["cpu_ms"],
            running if due == self._due else "what was over before it could be sampled",
            extra={"fields": fields},
        )

    def _sample(self) -> None:
        """On a thread of its own: keeps what the loop runs while it is late for its turn."""
        while not self._closed.wait(self._interval):
            due = self._due
            if self._loop.time() - due > ALERT_SECONDS / 2 and self._sampled[0] != due:
                self._sampled = due, _stack_of(self._thread)


def _stack_of(thread: int) -> str:
    """The innermost calls of a thread, from the innermost on."""
    frame, found = sys._current_frames().get(thread), list[str]()
    while frame is not None and len(found) < _FRAMES:
        found.append(f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(found)
