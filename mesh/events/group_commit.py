"""Group commit: applies the batches that the partitions of a topic deliver at the same time in one transaction.

A pass of a relay leaves a few events in each partition; a transaction per partition would cost more than the events.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from mesh.events.delivery import EventHandler, is_transient
from mesh.events.envelope import ConsumedEvent


class _Waiting(NamedTuple):
    """One partition's batch."""

    events: Sequence[ConsumedEvent]
    done: asyncio.Future[None]


class GroupCommit:
    """Joins batches of one topic: those that arrive while a group is in flight form the next group."""

    def __init__(self, handler: EventHandler) -> None:
        self._handler = handler
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        """Applies a batch atomically; raises what the handler raises for this batch, not for another of its group.

        The outcome is unknown to a caller that is cancelled while it waits, as after a crash: the batch is delivered
        again.
        """
        loop = asyncio.get_running_loop()
        mine = _Waiting(events, loop.create_future())
        self._waiting.append(mine)
        if self._task is None:
            self._task = loop.create_task(self._run(), name="group commit")
        await mine.done

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._together([one for one in group if not one.done.done()])
        finally:
            self._task = None

    async def _together(self, group: Sequence[_Waiting]) -> None:
        try:
            if group:
                await self._handler.apply([event for one in group for event in one.events])
        except asyncio.CancelledError:
            _report(group, InterruptedError("its group was cancelled"))  # delivered again, as after any OSError
            raise
        except Exception as error:  # noqa: BLE001 (raised to those who wait)
            if len(group) == 1 or is_transient(error):
                _report(group, error)
                return
            for one in group:
                if not one.done.done():
                    await self._together([one])  # each partition isolates what fails in its own batch
        else:
            _report(group, None)


def _report(group: Sequence[_Waiting], error: Exception | None) -> None:
    for one in group:
        if one.done.done():
            continue
        if error is None:
            one.done.set_result(None)
        else:
            one.done.set_exception(error)
