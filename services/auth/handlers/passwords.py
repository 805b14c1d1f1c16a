"""Checks and hashes passwords in threads: one costs 20 ms, too long for the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from mesh.runtime.errors import Overloaded
from mesh.runtime.lifecycle import Component
from services.auth.rules import passwords

_RETRY_SECONDS = 1.0
Arguments = ParamSpec("Arguments")
Response = TypeVar("Response")


class PasswordWorker(Component):
    """A few threads with a short queue: other calls keep their share of the CPU however many users log in."""

    def __init__(self, *, threads: int, queue: int) -> None:
        """queue: how many calls may wait for a thread; the next one raises Overloaded."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._slots = threads + queue
        self._decoy = passwords.decoy()

    async def close(self) -> None:
        """Stops the threads; cancels waiting calls."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The hash to store for a password; raises Overloaded."""
        return await self._run(passwords.hash_password, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right; without a hash False, after the same work. Raises Overloaded."""
        right = await self._run(passwords.verify, password_hash or self._decoy, password)
        return right and password_hash is not None

    async def _run(
        self, work: Callable[Arguments, Response], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Response:
        if self._slots <= 0:
            raise Overloaded(retry_after=_RETRY_SECONDS)
        self._slots -= 1
        loop = asyncio.get_running_loop()
        running = self._threads.submit(work, *arguments, **options)
        # Cancelling the caller does not stop the hash: its slot is released when it has finished.
        running.add_done_callback(lambda _: _on_loop(loop, self._release))
        return await asyncio.wrap_future(running)

    def _release(self) -> None:
        self._slots += 1


def _on_loop(loop: asyncio.AbstractEventLoop, step: Callable[[], None]) -> None:
    """Runs a step on the loop; does nothing when the process stops and the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(step)
