"""What realtime consumes: changes of tasks, sessions, calendars and inboxes go into the streams of their owners."""

from collections.abc import Sequence
from typing import ClassVar

from mesh.events.envelope import ConsumedEvent, traced
from mesh.runtime.slices import in_slices
from services.realtime import wire
from services.realtime.cache.streams import Publication, Streams


class ChangePublisher:
    """Adds events to the streams of the users that own them. The streams drop duplicates."""

    topics: ClassVar[tuple[str, ...]] = (
        *("task-updates", "session-events", "history-events", "calendar-events", "notification-events"),
    )

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        """Adds a batch; idempotent."""
        with traced(events):
            await self._streams.publish(await in_slices(map(_publication, events)))


def _publication(event: ConsumedEvent) -> Publication:
    return Publication(
        user_id=event.user_id,
        resource=f"{event.source}:{event.subject}",
        epoch=event.epoch,
        version=event.version,
        event_id=event.id,
        change=wire.change_to_bytes(event),
    )
