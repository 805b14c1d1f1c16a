"""Start, serve, drain, stop: the only place that knows the order.

A service may start before its parts: it listens at once, says NOT_SERVING, and turns SERVING when everything it needs
is there; when a part goes away it says so, and recovers by itself.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from mesh.database.pool import Database
from mesh.rpc.identity import Tokens
from mesh.rpc.interceptor import Interceptor
from mesh.rpc.server import NOT_SERVING, SERVING, Server
from mesh.runtime import telemetry
from mesh.runtime.parts import Component
from mesh.runtime.settings import ServiceSettings, load

log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.1
_YOUNG_OBJECTS = 20_000
Settings = TypeVar("Settings", bound=ServiceSettings)


Registration = tuple[Callable[[Any, Any], None], object]
"""A generated `add_…Servicer_to_server` and the servicer for it."""


@dataclass
class App:
    """A service, wired."""

    name: str
    settings: ServiceSettings
    tokens: Tokens
    servicers: Sequence[Registration]
    parts: Sequence[Component]
    """In the order of starting; closed in reverse."""
    database: Database | None = None
    """The one of `parts` that holds the remembered answers of idempotent calls."""
    end_streams: Callable[[], None] | None = None
    """Called once the service was served on and before it stops: ends calls that would never end by themselves."""

    async def serve(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set, then drains; raises RuntimeError when the port is taken."""
        server = Server(self.settings)
        guard = Interceptor(server.grpc, self.tokens, self.database, most_calls=self.settings.max_concurrent_calls)
        for add, servicer in self.servicers:
            add(servicer, guard)
        await server.start(guard.services)
        for part in self.parts:
            part.start()
        watching = asyncio.create_task(self._watch(server), name="readiness")
        log.info("listening on %s", self.settings.listen)
        await stop.wait()
        watching.cancel()
        await self._drain(server)

    async def _watch(self, server: Server) -> None:
        """Says SERVING exactly while every part is ready."""
        serving = False
        while True:
            ready = all(part.ready for part in self.parts)
            if ready != serving:
                serving = ready
                await server.set_serving_status(SERVING if ready else NOT_SERVING)
                missing = [type(part).__name__ for part in self.parts if not part.ready]
                log.info("SERVING" if ready else "NOT_SERVING: %s", *([] if ready else [", ".join(missing)]))
            await asyncio.sleep(_WATCH_SECONDS)

    async def _drain(self, server: Server) -> None:
        """Serves on until the gateway has noticed, then lets running calls end, then closes the parts."""
        await server.set_serving_status(NOT_SERVING)
        await asyncio.sleep(self.settings.drain_seconds)
        if self.end_streams is not None:
            self.end_streams()
        await server.stop(self.settings.stop_grace_seconds)
        for part in reversed(self.parts):
            try:
                await part.close()
            except Exception:  # every other part must still be closed
                log.exception("closing %s", type(part).__name__)
        log.info("stopped")


def main(service: str, kind: type[Settings], build: Callable[[Settings], App]) -> None:
    """The entry point of a service: reads its settings, builds it, serves until SIGTERM or SIGINT."""
    settings = load(kind, os.environ)
    flush = telemetry.configure(
        service, replica=settings.replica, ratio=settings.trace_ratio, log_level=settings.log_level
    )
    _freeze_gc()
    try:
        uvloop.run(_until_signalled(build, settings))
    finally:
        flush()


def _freeze_gc() -> None:
    """What is loaded by now stays for good: looking through it again and again took a fifth of the CPU of a call."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


async def _until_signalled(build: Callable[[Settings], App], settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await build(settings).serve(stop)
