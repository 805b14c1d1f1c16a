"""Tasks, the filters of their lists, and the focus sessions that count to them.

Instants are integer microseconds since the epoch, UTC.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias


class State(StrEnum):
    """The states of a task; the values are those of the column `status` and of events."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"


class Schedule(StrEnum):
    """How often a task recurs."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


class Task(NamedTuple):
    """One task."""

    id: str
    user_id: str
    title: str
    description: str | None
    status: str
    due_date: int | None
    reminder_time: int | None
    is_recurring: bool
    recurrence_schedule: str | None
    estimated_pomodoros: int | None
    created_at: int
    updated_at: int
    completed_at: int | None
    deleted_at: int | None
    purge_at: int | None
    version: int
    focus_seconds: int = 0
    """Worked on it in focus sessions; only events of those change it, and no version shows it."""
    pomodoros: int = 0
    """The same in pomodoros."""
    recurrence: Mapping[str, Any] | None = None
    """The rule of a recurring task, as `mesh.recurrence.document` writes it."""
    time_zone: str | None = None
    """IANA zone of the rule."""
    repeat_from: str | None = None
    """What the next instance follows; a value of `mesh.recurrence.rule.RepeatFrom`."""
    series_id: str | None = None
    slot: str | None = None
    """The local time or date that the rule gave it, as `mesh.recurrence.series.slot_text` writes it."""
    reminder_offsets: Sequence[str] | None = None
    """ISO 8601 durations before the due time; None for none."""
    series_values: Mapping[str, Any] | None = None
    """What its series has in place of what was changed of this instance alone, by the names of this class."""
    is_withdrawn: bool = False
    """Deleted because the completion before it was undone: its slot can be put again."""


class ListedTask(NamedTuple):
    """A task as lists read it: one null in place of eight, which took 2 percent of the CPU of a call."""

    id: str
    user_id: str
    title: str
    description: str | None
    status: str
    due_date: int | None
    reminder_time: int | None
    is_recurring: bool
    recurrence_schedule: str | None
    estimated_pomodoros: int | None
    created_at: int
    updated_at: int
    completed_at: int | None
    deleted_at: int | None
    purge_at: int | None
    version: int
    focus_seconds: int
    pomodoros: int
    more: Sequence[Any] | None
    """`recurrence` and the fields after it, of a task that recurs or has reminder offsets."""
    shown_at_end: bool | None = None
    """Of the last task that a page looks at: whether it is shown; None of all others."""


class DueTask(NamedTuple):
    """What a calendar shows of a task."""

    id: str
    title: str
    status: str
    due_date: int
    created_at: int
    updated_at: int
    completed_at: int | None


class Order(StrEnum):
    """Orders of a list."""

    CREATED_DESC = "created_desc"
    CREATED_ASC = "created_asc"
    DUE_ASC = "due_asc"
    UPDATED_DESC = "updated_desc"


class Filter(NamedTuple):
    """Filters a list of tasks; None and empty match every task."""

    states: tuple[str, ...] = ()
    due_from: int | None = None
    due_before: int | None = None
    is_recurring: bool | None = None
    show_deleted: bool = False
    order: Order = Order.CREATED_DESC


Totals: TypeAlias = Mapping[str, Sequence[int]]
"""Seconds and pomodoros of one focus session, by the id of the task that they were worked on."""


class FocusSession(NamedTuple):
    """A focus session in which tasks were worked on."""

    id: str
    user_id: str
    totals: Totals
    """As pomodoro reported them last."""
    is_deleted: bool
    """Whether pomodoro has deleted it."""
    corrected: Totals | None = None
    """As history reported them last, which then counts; None until it does: when the session is corrected, deleted or
    brought back in the archive, or joins it without time that its user added by hand before."""
    is_removed: bool = False
    """Whether history has deleted it."""


class FocusReport(NamedTuple):
    """What an event says of a focus session."""

    session_id: str
    user_id: str
    is_correction: bool
    """Whether history says so, and not pomodoro."""
    is_deleted: bool
    totals: Totals
