"""Defers Ctrl-C while the stack cleans up or starts the supervisor."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install_signal_handlers() -> None:
    """Makes a terminal that closes, or a SIGTERM, end the process as Ctrl-C does: with its cleaning up."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Signals that would end the process wait until the block is done; only the main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def record(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, record) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt
