"""What a file was read into. Everything is of JSON's types: it comes from another process."""

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

MOST_BYTES = 4 * 1024 * 1024
MOST_COMPONENTS = 5_000
"""Directly in the calendars of a file; those within them, such as alarms, are bounded by its size."""
MOST_ISSUES = 500
"""That are shown."""


class IssueKind(StrEnum):
    """What became of a component."""

    NOT_IMPORTED = "not_imported"
    NOT_KEPT = "not_kept"


class Weight(IntEnum):
    """Which issues are shown when there are too many."""

    LOST = 0
    """A component was not imported."""
    CHANGED = 1
    """Something that a calendar keeps has another value."""
    IGNORED = 2
    """A property that a calendar does not have."""


class Issue(NamedTuple):
    """Something that could not be kept."""

    kind: str
    component: str
    uid: str
    property: str
    """Or its part, such as BYHOUR."""
    line: int
    description: str
    weight: int


class ReadRow(NamedTuple):
    """An occurrence that differs from its event; None is as the event, an empty text is none."""

    slot: str
    status: str
    title: str | None = None
    description: str | None = None
    location: str | None = None
    start_slot: str | None = None
    length_days: int | None = None
    length_seconds: int | None = None


class ReadEvent(NamedTuple):
    """An event of a file, as `CalendarEvent` has it."""

    uid: str
    """That of the file; what had to become an event of its own has `#<slot>` behind it."""
    of_uid: str
    """That of the file."""
    sequence: int
    stamped_at: int | None
    title: str
    description: str | None
    location: str | None
    start_slot: str
    time_zone: str | None
    length_days: int
    length_seconds: int
    rule: Mapping[str, Any] | None
    added: Sequence[str]
    reminders: Sequence[Mapping[str, Any]]
    rows: Sequence[ReadRow]
    is_cancelled: bool
    """The whole event does not take place; `rows` then has every slot, or the rule has no end."""
    replaces: Sequence[Any] | None
    """Of an occurrence whose event is not in the file: its RECURRENCE-ID as `When`."""
    line: int


class ReadTask(NamedTuple):
    """A task of a file; instants are microseconds since the epoch."""

    uid: str
    title: str
    description: str | None
    due_at: int | None
    is_complete: bool
    completed_at: int | None
    line: int


class Summary(NamedTuple):
    """What could not be kept."""

    issues: Sequence[Issue]
    """In the order of the file, at most 500."""
    issue_count: int
    not_imported_count: int
