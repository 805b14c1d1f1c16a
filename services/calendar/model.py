"""Events of calendars and what is known of their occurrences. Instants are integer microseconds since the epoch, UTC.

A slot is a text, as `mesh.recurrence.series.slot_text` writes it: the local time, or date, at which an event puts an
occurrence.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from mesh.runtime.clock import DAY, SECOND

MOST_EVENTS = 5_000
"""Of a user, without those of subscriptions."""
MOST_ROWS = 1_000
"""Occurrences of one event that differ from it."""


class Status(StrEnum):
    """What became of an event or an occurrence, as the specification has it."""

    PLANNED = "planned"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class Length(NamedTuple):
    """How long an occurrence lasts: days on the wall clock, then seconds that pass."""

    days: int
    seconds: int


class CalendarEvent(NamedTuple):
    """One event: once, or recurring."""

    id: str
    user_id: str
    title: str
    description: str | None
    scheduled_start: int
    """Of the first occurrence; of an event that floats in the zone where its user was last known to be."""
    duration_minutes: int
    """Of `length`, rounded up."""
    repeat_type: str
    repeat_until: int | None
    status: str
    created_at: int
    updated_at: int
    location: str | None
    start_slot: str
    """The slot with which it begins; of an imported event perhaps beside its rule, and then also in `added`."""
    time_zone: str | None
    """None: it floats."""
    length_days: int
    length_seconds: int
    rule: Mapping[str, Any] | None
    """As `mesh.recurrence.document` writes it; None: it does not recur."""
    added: Sequence[str]
    """Slots beside those of the rule."""
    reminders: Sequence[Mapping[str, Any]]
    """Each with `offset` or `remind_time` (microseconds), and `channel`."""
    todo_task_id: str | None
    series_id: str
    """Its own id, or that of the event from which edits of FOLLOWING split it off."""
    subscription_id: str | None
    uid: str | None
    """UID, SEQUENCE and DTSTAMP of the file that it was imported from last."""
    sequence: int
    stamped_at: int | None
    ends_at: int | None
    """When the last occurrence of its slots ends; None: never."""
    last_slot: str | None
    """The last slot of its rule, also a cancelled one, so that lists need not count; empty: the rule has no slot.
    None: the rule does not end, or there is none."""
    next_end_at: int | None
    """When `occurrence-ended` is to be published next; None: never."""
    deleted_at: int | None
    purge_at: int | None
    version: int

    @property
    def length(self) -> Length:
        """How long each occurrence lasts."""
        return Length(self.length_days, self.length_seconds)

    @property
    def is_all_day(self) -> bool:
        """Whether it takes whole days: its slots are dates."""
        return "T" not in self.start_slot


class Pattern(NamedTuple):
    """What of an event says where its slots are; lists read it of every event that may have one in their window."""

    id: str
    start_slot: str
    last_slot: str | None
    time_zone: str | None
    length_days: int
    length_seconds: int
    rule: str | None
    """As JSON, because events share rules."""
    added: Sequence[str] | None
    """Those that may be in the window."""
    version: int

    @property
    def length(self) -> Length:
        """How long each occurrence lasts."""
        return Length(self.length_days, self.length_seconds)


class OccurrenceRow(NamedTuple):
    """What one occurrence has of its own: override, cancellation, completion, session; None is as the event."""

    event_id: str
    slot: str
    user_id: str
    status: str
    title: str | None
    description: str | None
    location: str | None
    start_slot: str | None
    """The local time or date to which it was moved, on the clock of its event."""
    start_time: int | None
    """The instant at which it begins, where it has a time or a length of its own; of an event that floats where its
    user was last known to be."""
    length_days: int | None
    length_seconds: int | None
    session_id: str | None
    """The focus session that it was started as last, unless that was abandoned or deleted."""
    starts: int
    """How often it was started: a start that sees another number when it is to store its session came too late."""
    completed_at: int | None
    is_completed_by_session: bool
    """Whether its session has completed it; while it is planned, its user has restored it since."""


class FocusSession(NamedTuple):
    """A focus session that was started for an occurrence, as pomodoro shows it."""

    id: str
    user_id: str
    event_id: str
    """Of the occurrence when it was started, like `slot`."""
    slot: str
    is_gone: bool
    """Whether it is deleted or was abandoned."""
    is_done: bool
    """Whether it was finished with some work."""
    changed_at: int


class Occurrence(NamedTuple):
    """One occurrence as it takes place: the slot of an event with what its row changes."""

    event: CalendarEvent
    slot: str
    start: int
    end: int
    row: OccurrenceRow | None
    moved: Sequence[str] = ()
    """Why the slot is not where the rule's day and time say; values of `mesh.recurrence.series.Moved`."""

    @property
    def status(self) -> str:
        """What became of it."""
        return Status.PLANNED if self.row is None else self.row.status

    @property
    def title(self) -> str:
        """What it is called."""
        return self.event.title if self.row is None or self.row.title is None else self.row.title

    @property
    def local_start(self) -> str:
        """When it begins on the clock of its event."""
        return self.slot if self.row is None else self.row.start_slot or self.slot

    @property
    def planned_minutes(self) -> int:
        """How long it lasts; a part of a minute is rounded up."""
        return -(-(self.end - self.start) // (60 * SECOND))

    @property
    def id(self) -> str:
        """As `occurrence_id` makes it."""
        return occurrence_id(self.event.id, self.slot)


def occurrence_id(event_id: str, slot: str) -> str:
    """`<event id>_<slot without separators>`."""
    return f"{event_id}_{slot.replace('-', '').replace(':', '')}"


class Place(NamedTuple):
    """Where an occurrence is in a list; no two are at the same place."""

    start: int
    event_id: str
    slot: str


class Window(NamedTuple):
    """What is listed: occurrences that take place at some time of [begin, end)."""

    begin: int
    end: int
    zone: str
    """Of the user, for events that float."""
    after: Place | None = None
    """Only what comes after it."""

    @property
    def since(self) -> int:
        """The instant before which nothing begins but what goes on at `begin`."""
        return self.begin if self.after is None else max(self.begin, self.after.start)

    def earliest(self, length_days: int, length_seconds: int) -> int:
        """The earliest start of something so long; later than that it may still end before `begin` when it has days."""
        reach = (
            length_seconds * SECOND + (length_days + 1) * DAY if length_days else max(0, length_seconds * SECOND - 1)
        )
        earliest = self.begin - reach
        return earliest if self.after is None else max(earliest, self.after.start)

    def has(self, start: int, end: int) -> bool:
        """Whether what takes place then is listed."""
        return start < self.end and (end > self.begin or start >= self.begin)


class OccurrenceFilter(NamedTuple):
    """Which occurrences a list shows; None: whatever it is."""

    states: Sequence[str] = (Status.PLANNED.value, Status.COMPLETED.value)
    event_id: str | None = None
    todo_task_id: str | None = None
    is_all_day: bool | None = None
    own_only: bool = False


class Taken(NamedTuple):
    """The time that an occurrence takes; `end` is `start` of one that takes none. Sorted as lists are."""

    start: int
    event_id: str
    slot: str
    end: int


class Apart(NamedTuple):
    """A planned occurrence whose row says when it takes place."""

    place: Place
    start_slot: str
    time_zone: str | None
    length: Length


class Timed(NamedTuple):
    """What the timed events of a user say of a window."""

    patterns: Mapping[str, Pattern]
    """By event."""
    apart: Sequence[Apart]
    """By place; some end before the window."""
    elsewhere: frozenset[tuple[str, str]]
    """Event and slot of occurrences that take no time where their pattern puts them."""


class DueReminder(NamedTuple):
    """The next instant of one reminder of an event."""

    event_id: str
    reminder: str
    """Which: `<offset>/<channel>`, or `@<instant in microseconds>/<channel>`."""
    user_id: str
    remind_at: int
    slot: str | None
    """The occurrence that it is for; None for an instant."""


class Upcoming(NamedTuple):
    """A reminder that waits, with what it is of."""

    due: DueReminder
    event: CalendarEvent
    """Without its description."""
    row: OccurrenceRow | None


class EventFilter(NamedTuple):
    """Filters a list of events; None and empty match every event."""

    states: tuple[str, ...] = ()
    show_deleted: bool = False
    subscription_id: str | None = None
    """None: only the user's own."""
    todo_task_id: str | None = None


class Change(NamedTuple):
    """An event that was created or changed, with what its occurrences have of their own; `rules.changes` makes it."""

    event: CalendarEvent
    rows: Mapping[str, OccurrenceRow]
    """All, by slot."""
    rows_before: Mapping[str, OccurrenceRow]
    before: CalendarEvent | None = None
    """None: it is new. The same as `event` when nothing changed, which is then not a new version."""
    remind: Callable[[Iterable[DueReminder]], Sequence[DueReminder]] = list
    """Gives the next firings of its reminders, from those stored before; the same ones when nothing changed."""


class Feed(NamedTuple):
    """A private address by which other programs read a calendar."""

    id: str
    user_id: str
    name: str
    token_hash: str
    """SHA-256, in hexadecimal, of the token, which is stored nowhere."""
    include_tasks: bool
    created_at: int
    last_read_at: int | None
    """To the hour."""
    etag: str
    """Of what was read last; empty before."""
    changed_at: int
    """When `etag` was found to be another one: a whole second."""


class CalendarSubscription(NamedTuple):
    """A calendar of others that a user follows."""

    id: str
    user_id: str
    name: str
    url: str
    http_etag: str | None
    http_last_modified: str | None
    event_count: int
    issue_count: int
    read_at: int | None
    """When the address answered last."""
    tried_at: int | None
    """When it was asked last."""
    next_read_at: int
    leased_until: int | None
    """By the replica that is reading it, or removes its events; None: by nobody."""
    failures: int
    """In a row."""
    error: str
    created_at: int
    deleted_at: int | None
    """Its events are being removed, and then itself; nobody sees it any more."""
    version: int
    """Raised by each lease and by the deletion: whoever holds an older one writes nothing more."""
