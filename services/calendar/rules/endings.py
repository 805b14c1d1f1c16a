"""Which occurrences have ended since that was last said of their events."""

from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

from services.calendar.model import CalendarEvent, Occurrence, OccurrenceRow, Status
from services.calendar.rules.series import between, next_ended


class Ending(NamedTuple):
    """An event of which something has ended, and all its rows by slot."""

    event: CalendarEvent
    rows: Mapping[str, OccurrenceRow]
    zone: str
    """Of its user."""

    def ended(self, until: int) -> list[Occurrence]:
        """What has ended until an instant, and was not said to have ended, by end; without what was cancelled."""
        since = until + 1 if self.event.next_end_at is None else self.event.next_end_at
        found = between(self.event, self.rows, since - 1, until + 1, self.zone)
        passed = [each for each in found if since <= each.end <= until and each.status != Status.CANCELLED]
        return sorted(passed, key=attrgetter("end", "slot"))

    def following(self, until: int) -> int | None:
        """When the next occurrence ends after an instant; None: never."""
        found = next_ended(self.event, self.rows, until, self.zone)
        return None if found is None else found.end
