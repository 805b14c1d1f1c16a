"""Writes that a relay may get wrong."""

import asyncio

from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.ids import new_id
from mesh.runtime.lifecycle import PeriodicTask
from tests.events.checker import EventRef
from tests.events.fakes import TRACEPARENT, Source, Write

WRITERS, ITEMS, CHANGES = 12, 4, 25


async def race(source: Source, write: Write = outbox.write) -> None:
    """Twelve writers change four items of one user at the same time."""
    user, items = new_id(), [new_id() for _ in range(ITEMS)]
    versions = dict.fromkeys(items, 0)

    async def writer(number: int) -> None:
        item = items[number % ITEMS]
        for _ in range(CHANGES):
            await change(item)

    async def change(item: str) -> None:
        while True:
            version = versions[item] + 1
            try:
                await source.change(user, item, version, write=write)
            except WriteConflict:
                await asyncio.sleep(0)
                continue
            versions[item] = max(version, versions[item])
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
    source.committed += [EventRef(event.id, event.subject, event.version) for event in (early, late)]
