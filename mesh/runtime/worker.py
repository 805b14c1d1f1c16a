"""Work on what others made, in a process of its own, with a limit of memory and a deadline; the event loop goes on.

A thread would hold the interpreter's lock; a process can be killed. It is started when it is first needed and does one
piece of work after the other. One that takes too long or too much is ended with it, and the next gets a new process.
"""

import asyncio
import importlib
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from mesh.runtime.errors import Overloaded
from mesh.runtime.lifecycle import Component

Work = Callable[[bytes], Iterator[bytes]]
"""From the content to pieces of a result, each so small that it may be handled in one go."""

_LENGTH = struct.Struct("!I")
_FRAME, _END, _FAILED = b"f", b"e", b"x"
_RETRY_SECONDS = 2.0
_LATER_SECONDS = 1.0
"""After the deadline of its parent a process ends itself: it may have no parent any more."""


class WorkFailedError(Exception):
    """The work took too long or too much memory, or raised; the text is what it raised."""


class Worker(Component):
    """One process that does one kind of work, and a short queue before it."""

    def __init__(self, work: str, *, seconds: float, memory_bytes: int, result_bytes: int, queue: int) -> None:
        """work: a `Work` as `module:function`. queue: how many may wait; the next one raises Overloaded.

        seconds: for one piece of work. memory_bytes: address space of the process.
        """
        self._work, self._seconds, self._memory, self._most = work, seconds, memory_bytes, result_bytes
        self._places, self._turn = queue + 1, asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, content: bytes) -> list[bytes]:
        """The pieces of the result. Raises WorkFailedError and Overloaded."""
        if not self._places:
            raise Overloaded(retry_after=_RETRY_SECONDS)
        self._places -= 1
        try:
            async with self._turn:
                return await self._attempt(content)
        finally:
            self._places += 1

    async def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            if process.stdout is not None:
                await process.stdout.read()  # asyncio waits for the end of a pipe that nobody reads
            await process.wait()

    async def _attempt(self, content: bytes) -> list[bytes]:
        whole = False
        try:
            if self._process is None or self._process.returncode is not None:
                self._process = await self._start()
            async with asyncio.timeout(self._seconds):
                sending = asyncio.ensure_future(_send(self._process, content))
                try:
                    pieces = await self._receive(self._process)
                    whole = True
                finally:
                    if not whole:
                        sending.cancel()
                    with suppress(OSError, asyncio.CancelledError):
                        await sending
        except TimeoutError:
            raise WorkFailedError(f"took longer than {self._seconds:g} s") from None
        except (asyncio.IncompleteReadError, OSError):
            raise WorkFailedError("ended its process") from None
        finally:
            if not whole:
                await self.close()
        if isinstance(pieces, str):
            raise WorkFailedError(pieces)
        return pieces

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, self._work, str(self._memory), str(self._seconds + _LATER_SECONDS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
        )

    async def _receive(self, process: asyncio.subprocess.Process) -> list[bytes] | str:
        """The pieces, or the text of what was raised."""
        pieces, size = list[bytes](), 0
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        while True:
            kind = await process.stdout.readexactly(1)
            (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
            size += length
            if size > self._most:
                raise WorkFailedError(f"has a result of more than {self._most} bytes")
            content = await process.stdout.readexactly(length)
            if kind == _END:
                return pieces
            if kind == _FAILED:
                return content.decode()
            pieces.append(content)


async def _send(process: asyncio.subprocess.Process, content: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 (it is a pipe)
    process.stdin.write(_LENGTH.pack(len(content)))
    process.stdin.write(content)
    await process.stdin.drain()


def _serve(work: Work, seconds: float) -> None:
    """Does one piece of work after the other until its parent is gone. seconds: after which one ends the process."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    while len(head := source.read(_LENGTH.size)) == _LENGTH.size:
        content = source.read(_LENGTH.unpack(head)[0])
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            for piece in work(content):
                sink.write(_FRAME + _LENGTH.pack(len(piece)) + piece)
            sink.write(_END + _LENGTH.pack(0))
        except MemoryError:
            os._exit(1)  # what is left of the memory may not do for more
        except Exception as failure:  # noqa: BLE001 (told to the parent)
            text = f"{type(failure).__name__}: {failure}".encode()[:1000].decode(errors="ignore").encode()
            sink.write(_FAILED + _LENGTH.pack(len(text)) + text)
        sink.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)
    _serve(getattr(importlib.import_module(module), name), float(sys.argv[3]))
