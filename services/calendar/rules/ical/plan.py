"""What an import does with the events of a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from services.calendar.errors import TooManyChanges
from services.calendar.model import MOST_ROWS, CalendarEvent, Change, Occurrence, OccurrenceRow
from services.calendar.rules import changes
from services.calendar.rules.edits import deleted
from services.calendar.rules.ical.content import Issue, IssueKind, ReadEvent, Weight
from services.calendar.rules.ical.merging import Merged, is_older, merged, new_event, with_occurrence
from services.calendar.rules.ical.telling import reminded_of

Rows = Mapping[str, OccurrenceRow]


class Outcome(StrEnum):
    """What became of an event of a file."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    NOT_IMPORTED = "not_imported"
    REMOVED = "removed"
    """What had been split off from an event, and is not in the newer version of it; counted with that."""


class Step(NamedTuple):
    """What is done with one event."""

    outcome: Outcome
    change: Change | None = None
    issue: Issue | None = None
    told: Sequence[Occurrence] = ()
    """Cancelled or moved after a reminder of them was due: each a version and a message after that of the change."""


_LATER = Step(Outcome.UPDATED)
"""Of an event that others of its UID may change too: the step follows them."""


class Known:
    """The events of the calendar that a file has too; kept up to date with what the import does."""

    def __init__(self, found: Iterable[CalendarEvent], rows: Mapping[str, Rows]) -> None:
        """rows: of each of them, by event."""
        self._rows = {event_id: dict(of_event) for event_id, of_event in rows.items()}
        self._events: dict[str, CalendarEvent] = {}
        for event in found:
            self._events[event.id] = event
            if event.uid is not None:
                self._events[event.uid] = event

    def get(self, uid: str) -> tuple[CalendarEvent, Rows] | None:
        """An event by its UID, or by its id, as exports have it."""
        event = self._events.get(uid)
        return None if event is None else (event, self._rows.get(event.id, {}))

    def put(self, uid: str, change: Change) -> None:
        """Keeps what was done."""
        self._events[uid] = self._events[change.event.id] = change.event
        self._rows[change.event.id] = dict(change.rows)

    def rows(self, event_id: str) -> Rows:
        """What occurrences of an event have of their own."""
        return self._rows.get(event_id, {})

    def put_rows(self, event_id: str, rows: Rows) -> None:
        """Keeps what is to be done with occurrences of an event."""
        self._rows[event_id] = dict(rows)

    def split_off(self, of_uid: str) -> Iterator[tuple[CalendarEvent, Rows]]:
        """What had been split off from an event."""
        for uid, event in list(self._events.items()):
            if uid.startswith(f"{of_uid}#"):
                yield event, self._rows.get(event.id, {})


class Plan:
    """Decides about the events of a file for one user."""

    def __init__(self, known: Known, *, user_id: str, zone: str, now: int, in_file: Set[str]) -> None:
        """zone: of the user. in_file: the UIDs of all events of the file, which has what was split off before an export
        as events of their own."""
        self._known, self._user_id, self._zone, self._now = known, user_id, zone, now
        self._in_file = in_file
        self._begun: dict[str, tuple[CalendarEvent, Rows]] = {}
        """What occurrences of one UID change of events, as these were before."""

    def steps(self, group: list[ReadEvent], new_ids: Iterator[str]) -> Iterator[Step]:
        """What is done with the events of one UID, the one that others were split off from first."""
        base = group[0]
        before = self._known.get(base.of_uid)
        is_newer = base.replaces is None and before is not None and not is_older(base, before[0])
        series_id = before[0].series_id if before is not None else None
        for read in group:
            event_id = next(new_ids)
            series_id = series_id or event_id
            try:
                step = self._step(read, event_id, series_id)
                if read is base and step.outcome is Outcome.UNCHANGED:  # as an export of this event alone has it
                    is_newer = False
                if step is not _LATER:
                    yield step
            except TooManyChanges:
                yield Step(
                    Outcome.NOT_IMPORTED, issue=_issue(read, "RECURRENCE-ID", "has too many changed occurrences")
                )
        for event, rows in self._begun.values():
            yield self._update(event.uid or event.id, event, Merged(event, dict(self._known.rows(event.id))), rows)
        self._begun.clear()
        if is_newer:
            for event, rows in self._known.split_off(base.of_uid):
                if event.uid not in self._in_file:
                    yield Step(
                        Outcome.REMOVED, self._changed(event, Merged(deleted(event, self._now), dict(rows)), rows)
                    )

    def _step(self, read: ReadEvent, event_id: str, series_id: str) -> Step:
        if read.replaces is not None:
            step = self._of_known(read)
            if step is not None:
                return step
        found = self._known.get(read.uid)
        if found is None:
            return self._create(read, event_id, series_id)
        event, rows = found
        if read.replaces is not None and event.rule is not None:
            lost = _issue(read, "RECURRENCE-ID", "is of what was changed from there on, and has no such slot now")
            return Step(Outcome.NOT_IMPORTED, issue=lost)
        if is_older(read, event):
            return Step(Outcome.UNCHANGED)
        if read.is_cancelled and not read.rows:
            gone = self._changed(event, Merged(deleted(event, self._now), dict(rows)), rows)
            return Step(Outcome.UPDATED, gone, _issue(read, "STATUS", "is CANCELLED: the event was deleted", kept=True))
        new = merged(read, event, rows, self._zone)
        return Step(Outcome.UNCHANGED) if new is None else self._update(read.uid, event, new, rows)

    def _create(self, read: ReadEvent, event_id: str, series_id: str) -> Step:
        if read.is_cancelled and not read.rows:
            return Step(Outcome.NOT_IMPORTED, issue=_issue(read, "STATUS", "is CANCELLED, for an event without an end"))
        event, rows = new_event(
            read, event_id=event_id, series_id=series_id, user_id=self._user_id, zone=self._zone, now=self._now
        )
        change = changes.created(event, rows, self._zone)
        self._known.put(read.uid, change)
        return Step(Outcome.CREATED, change)

    def _of_known(self, read: ReadEvent) -> Step | None:
        """The occurrence of an event that is in the calendar and not in the file; None when there is no such."""
        found = self._known.get(read.of_uid)
        if found is None:
            return None
        if read.sequence < found[0].sequence:
            return Step(Outcome.UNCHANGED)
        for event, rows in chain([found], self._known.split_off(read.of_uid)):
            new = with_occurrence(read, event, rows, self._zone)
            if new is not None:
                kept = {slot: row for slot, row in new.rows.items() if not changes.says_nothing(row)}
                return Step(Outcome.UNCHANGED) if kept == dict(rows) else self._begin(event, rows, kept)
        return None

    def _begin(self, event: CalendarEvent, before: Rows, rows: Rows) -> Step:
        """Notes the rows of an event, which is written once. Raises TooManyChanges."""
        if len(rows) > max(MOST_ROWS, len(before)):
            raise TooManyChanges(limit=MOST_ROWS)
        self._known.put_rows(event.id, rows)
        is_first = event.id not in self._begun
        self._begun.setdefault(event.id, (event, before))
        return _LATER if is_first else Step(Outcome.UPDATED)

    def _update(self, uid: str, event: CalendarEvent, new: Merged, rows: Rows) -> Step:
        change = self._changed(event, new, rows)
        told = reminded_of(change, self._zone, self._now)
        if told:
            change = change._replace(event=change.event._replace(version=change.event.version + len(told)))
        self._known.put(uid, change)
        return Step(Outcome.UPDATED, change, told=told)

    def _changed(self, event: CalendarEvent, new: Merged, rows: Rows) -> Change:
        return changes.changed(event, new.event, rows, new.rows, self._zone, self._now)


def _issue(read: ReadEvent, part: str, description: str, *, kept: bool = False) -> Issue:
    kind, weight = (IssueKind.NOT_KEPT, Weight.CHANGED) if kept else (IssueKind.NOT_IMPORTED, Weight.LOST)
    return Issue(kind, "VEVENT", read.of_uid, part, read.line, description, weight)
