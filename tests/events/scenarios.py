"""Writes that put a relay to the test."""

import asyncio

from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.ids import new_id
from mesh.runtime.lifecycle import PeriodicTask
from tests.events.checker import Told
from tests.events.fakes import TRACEPARENT, Source, Write

WRITERS, THINGS, CHANGES = 12, 4, 25


async def race(source: Source, write: Write = outbox.write) -> None:
    """Twelve writers change four things of one user at the same time."""
    user, things = new_id(), [new_id() for _ in range(THINGS)]
    versions = dict.fromkeys(things, 0)

    async def writer(number: int) -> None:
        thing = things[number % THINGS]
        for _ in range(CHANGES):
            await change(thing)

    async def change(thing: str) -> None:
        while True:
            version = versions[thing] + 1
            try:
                await source.change(user, thing, version, write=write)
            except WriteConflict:
                await asyncio.sleep(0)
                continue
            versions[thing] = max(version, versions[thing])
            return

    await asyncio.gather(*map(writer, range(WRITERS)))


async def two_commits_out_of_order(source: Source, relay: PeriodicTask) -> None:
    """The event with the lower number commits last, and the relay looks between the two."""
    early, late = source.event(new_id(), new_id(), 1), source.event(new_id(), new_id(), 1)
    async with source.database.transaction() as slow:
        await outbox.write(slow, "SELECT 1", {}, SideEffects([early], None, TRACEPARENT))
        async with source.database.transaction() as quick:
            await outbox.write(quick, "SELECT 1", {}, SideEffects([late], None, TRACEPARENT))
        await relay.run_once()
    await relay.run_once()
    source.committed += [Told(event.id, event.subject, event.version) for event in (early, late)]
