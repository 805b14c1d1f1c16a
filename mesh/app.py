"""Start, serve, drain, stop: this module alone defines the order.

A service may start before what it depends on: it listens at once, reports NOT_SERVING, and turns SERVING when all its
components are ready; when one is no longer ready it reports that, and recovers by itself.
"""

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import uvloop

from mesh.database.pool import Database
from mesh.rpc.identity import Tokens
from mesh.rpc.interceptor import Interceptor
from mesh.rpc.server import NOT_SERVING, SERVING, Server
from mesh.rpc.service_identity import Callers
from mesh.runtime import telemetry
from mesh.runtime.lifecycle import Component, PeriodicTask
from mesh.runtime.loop_lag import LoopLag
from mesh.runtime.settings import ServiceSettings, load

log = logging.getLogger(__name__)

Settings = TypeVar("Settings", bound=ServiceSettings)
_TURN_SECONDS, _QUIET_TURNS = 0.05, 6
"""A service is not behind when no call begins for so many turns of the event loop, each of which takes up calls."""

Registration = tuple[Callable[[Any, Any], None], object]
"""A generated `add_…Servicer_to_server` and the servicer for it."""


@dataclass
class App:
    """A service, wired."""

    name: str
    settings: ServiceSettings
    tokens: Tokens
    servicers: Sequence[Registration]
    components: Sequence[Component]
    """In the order of starting; closed in reverse."""
    database: Database | None = None
    """Holds the stored responses of idempotent calls; also one of `components`."""
    callers: Callers | None = None
    """The services that may call; required by a service with internal RPCs."""
    end_streams: Callable[[], None] | None = None
    """Called after `drain_seconds`, before the server stops: ends calls that would never end by themselves."""

    async def serve(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set, then drains; raises RuntimeError when the port is taken."""
        lag = LoopLag()
        lag.start()
        interceptor = Interceptor(
            self.tokens,
            self.callers or Callers(self.name),
            self.database,
            most_calls=self.settings.max_concurrent_calls,
            most_streams=self.settings.max_concurrent_streams,
        )
        for add, servicer in self.servicers:
            add(servicer, interceptor)
        server = Server(self.settings, interceptor.largest_request)
        interceptor.register(server.grpc)
        await server.start(list(interceptor.services))
        for component in self.components:
            component.start()
        readiness = _Readiness(server, self.components)
        readiness.start()
        log.info("listening on %s", self.settings.listen)
        await stop.wait()
        await readiness.close()
        await self._drain(server, interceptor)
        await lag.close()

    async def _drain(self, server: Server, calls: Interceptor) -> None:
        """Serves until the gateway has noticed, lets running calls end, then closes the components."""
        await _announce(server, self.components, serving=False)
        await self._serve_what_arrived(calls)
        if self.end_streams is not None:
            self.end_streams()
        await server.stop(self.settings.stop_grace_seconds)
        for component in reversed(self.components):
            try:
                await component.close()
            except Exception:  # every other component must still be closed
                log.exception("closing %s", type(component).__name__)
        log.info("stopped")

    async def _serve_what_arrived(self, calls: Interceptor) -> None:
        """Waits for `drain_seconds`, and up to twice that while calls still begin.

        A service that is far behind has calls that nobody has taken up yet; gRPC would cancel them when it stops.
        """
        drain, began, quiet = self.settings.drain_seconds, time.monotonic(), 0
        while (passed := time.monotonic() - began) < drain or (quiet < _QUIET_TURNS and passed < 2 * drain):
            begun = calls.begun
            await asyncio.sleep(_TURN_SECONDS)
            quiet = quiet + 1 if calls.begun == begun else 0


async def _announce(server: Server, components: Sequence[Component], *, serving: bool) -> None:
    for component in components:
        component.on_serving(serving)
    await server.set_serving_status(SERVING if serving else NOT_SERVING)


class _Readiness(PeriodicTask):
    """Reports SERVING exactly while every component is ready."""

    longest_wait: ClassVar[float] = 0.1

    def __init__(self, server: Server, components: Sequence[Component]) -> None:
        super().__init__("readiness")
        self._server, self._components = server, components
        self._serving = False

    async def run_once(self) -> int:
        missing = [type(component).__name__ for component in self._components if not component.ready]
        if self._serving == bool(missing):
            self._serving = not missing
            await _announce(self._server, self._components, serving=self._serving)
            log.info("NOT_SERVING: %s" if missing else "SERVING", *([", ".join(missing)] if missing else []))
        return 0


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
    """Freezes start-up objects: collecting over them cost a fifth of a call's CPU.

    They are not collected first: few are garbage, and finding them costs a tenth of a start. The default threshold of
    700 costs calls another tenth; at this one a collection takes a few milliseconds.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _until_signalled(build: Callable[[Settings], App], settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await build(settings).serve(stop)
