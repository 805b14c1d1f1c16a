"""Tasks, and the filters of their lists. Instants are integer microseconds since the epoch, UTC."""

from enum import StrEnum
from typing import NamedTuple


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
    created_at: int
    updated_at: int
    completed_at: int | None
    deleted_at: int | None
    purge_at: int | None
    version: int


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
