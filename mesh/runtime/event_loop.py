"""The event loop of a service: uvloop's, where waiting for the same socket again and again costs less.

psycopg adds a reader for its socket with every statement and removes it afterwards; uvloop makes a handle each time,
with nine system calls until it is called. Here they are three: a socket that comes back stays in an epoll set, where
the kernel disarms it when it is ready, and from which the kernel takes it when it is closed.
"""

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvloop

_READABLE_ONCE = select.EPOLLIN | select.EPOLLONESHOT


_Reader = tuple[Callable[..., object], tuple[Any, ...]]


class EventLoop(uvloop.Loop):
    """Handles readers of descriptors from which a reader was removed before; everything else is uvloop's."""

    def __init__(self) -> None:
        super().__init__()
        self._epoll = select.epoll()
        self._returning: set[int] = set()
        self._readers: dict[int, _Reader] = {}
        super().add_reader(self._epoll.fileno(), self._dispatch)

    def add_reader(  # type: ignore[override]  # the signature of uvloop, which differs from asyncio's
        self, fd: Any, callback: Callable[..., object], *args: Any
    ) -> None:
        """Calls back whenever the descriptor is readable or broken."""
        if fd not in self._returning:
            super().add_reader(fd, callback, *args)
            return
        self._readers[fd] = callback, args
        self._arm(fd)

    def remove_reader(self, fd: Any) -> None:  # type: ignore[override]  # as in uvloop
        """Ends the callbacks. The kernel may report the descriptor once more, which does nothing."""
        if self._readers.pop(fd, None) is None:
            super().remove_reader(fd)
            self._returning.add(fd)

    def close(self) -> None:
        """Closes the loop; idempotent."""
        super().close()
        self._epoll.close()

    def _arm(self, fd: int) -> None:
        try:
            self._epoll.modify(fd, _READABLE_ONCE)
        except FileNotFoundError:  # new, or closed meanwhile and its number given to another one
            self._epoll.register(fd, _READABLE_ONCE)

    def _dispatch(self) -> None:
        called = []
        for fd, _ in self._epoll.poll(0):
            reader = self._readers.get(fd)
            if reader is None:
                continue
            called.append((fd, reader))
            callback, args = reader
            try:
                callback(*args)
            except Exception as error:  # noqa: BLE001 (as uvloop treats an error of any callback)
                self.call_exception_handler({"message": f"reader of descriptor {fd} failed", "exception": error})
        if called:
            self.call_soon(self._arm_again, called)  # after what the callbacks woke: it removes most readers

    def _arm_again(self, called: list[tuple[int, _Reader]]) -> None:
        for fd, reader in called:
            if self._readers.get(fd) is reader:
                with suppress(OSError):  # closed, and its reader left behind
                    self._arm(fd)
