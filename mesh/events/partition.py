"""The bounded queue of one partition, between the consumer's thread and `delivery.py` on the event loop."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from mesh.events.envelope import Message
from mesh.runtime.lifecycle import backoff

log = logging.getLogger(__name__)

BATCH = 500
"""Most messages in one delivery."""
_BATCH_BYTES = 1024 * 1024
"""Of the values in one delivery: encoding more in one statement, for all partitions, would block the event loop."""
_PAUSE_ABOVE = 2000
_PAUSE_ABOVE_BYTES = 8 * 1024 * 1024
_RESUME_BELOW = 500


class PartitionId(NamedTuple):
    """Names a partition."""

    topic: str
    number: int


class Deliverer(Protocol):
    """Applies the messages of a partition."""

    @property
    def waiting(self) -> bool:
        """Whether it backs off before a retry."""

    async def deliver(self, messages: Sequence[Message]) -> None:
        """Returns when every message is applied or dead-lettered."""


class Partition:
    """The undelivered messages of one partition. The event loop owns it; the consumer's thread only reads."""

    def __init__(self, partition_id: PartitionId, deliverer: Deliverer) -> None:
        self.id = partition_id
        self.deliverer = deliverer
        self.position: int | None = None
        """The offset that follows the last delivered message; None before the first delivery."""
        self.committed: int | None = None
        self.paused = False
        """Set and read by the consumer's thread."""
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._leaving = False
        self._task: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """The number of undelivered messages."""
        return len(self._messages)

    @property
    def must_pause(self) -> bool:
        """Whether nothing further should be fetched."""
        return self.queued > _PAUSE_ABOVE or self._bytes > _PAUSE_ABOVE_BYTES or self.deliverer.waiting

    @property
    def may_resume(self) -> bool:
        """Whether a paused partition should be fetched again."""
        return self.queued < _RESUME_BELOW and not self.deliverer.waiting

    @property
    def oldest(self) -> int | None:
        """When the broker accepted the oldest undelivered message, milliseconds since the epoch."""
        try:
            return self._messages[0].time
        except IndexError:
            return None

    def start(self) -> None:
        """Starts delivery, unless `leave` was called first."""
        if not self._leaving:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"deliver {self.id}")

    def put(self, messages: Sequence[Message]) -> None:
        """Queues messages."""
        self._messages.extend(messages)
        self._bytes += sum(map(_size, messages))
        self._arrived.set()

    async def leave(self, seconds: float) -> None:
        """Ends after the current batch, or at once while it backs off; cancels the batch after `seconds`."""
        self._leaving = True
        self._arrived.set()
        if self._task is not None:
            if not self.deliverer.waiting:
                await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        failures = 0
        while not self._leaving:
            if not self._messages:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = first_batch(self._messages)
            try:
                await self.deliverer.deliver(batch)
            except Exception:  # no message may be skipped: the batch is tried again
                failures += 1
                log.exception("delivery from %s/%d failed", *self.id)
                await asyncio.sleep(backoff(failures))
                continue
            failures = 0
            for message in batch:
                self._messages.popleft()
                self._bytes -= _size(message)
            self.position = batch[-1].offset + 1


def first_batch(messages: Iterable[Message]) -> list[Message]:
    """The first messages that are delivered together: at least one, then as many as the two limits allow."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        size += _size(message)
        if batch and (len(batch) == BATCH or size > _BATCH_BYTES):
            break
        batch.append(message)
    return batch


def _size(message: Message) -> int:
    return len(message.value or b"")
