"""Checks and hashes passwords away from the event loop, a bounded number at once."""

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
    """A few threads with a short queue: however many log in, other calls keep their share of the processor."""

    def __init__(self, *, threads: int, queue: int) -> None:
        """queue: how many may wait for a thread; one more is refused at once."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._room = threads + queue
        self._decoy = passwords.decoy()

    async def close(self) -> None:
        """Ends the threads; what waits is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """What to store for a password; raises Overloaded."""
        return await self._run(passwords.hash_password, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right. Without a hash the same work is done for a no. Raises Overloaded."""
        right = await self._run(passwords.verify, password_hash or self._decoy, password)
        return right and password_hash is not None

    async def _run(
        self, work: Callable[Arguments, Response], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Response:
        if self._room <= 0:
            raise Overloaded(retry_after=_RETRY_SECONDS)
        self._room -= 1
        loop = asyncio.get_running_loop()
        running = self._threads.submit(work, *arguments, **options)
        # A caller who gives up leaves work that has begun: the room is free when that is done, not before.
        running.add_done_callback(lambda _: _on_loop(loop, self._leave))
        return await asyncio.wrap_future(running)

    def _leave(self) -> None:
        self._room += 1


def _on_loop(loop: asyncio.AbstractEventLoop, step: Callable[[], None]) -> None:
    """Runs a step on the loop, unless the process is stopping and the loop is gone."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(step)
