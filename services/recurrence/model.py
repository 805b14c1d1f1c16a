"""Schedules, completions, plans, open tasks and reminders. Instants are integer microseconds since the epoch, UTC."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple


class Schedule(NamedTuple):
    """The schedule of one series."""

    id: str
    user_id: str
    parent_task_id: str
    frequency: str
    next_due_date: int
    is_active: bool
    created_at: int
    updated_at: int
    rule: Mapping[str, Any]
    """As `mesh.recurrence.document` writes it."""
    time_zone: str
    repeat_from: str
    start_slot: str
    """The slot with which it began; slots are texts of `mesh.recurrence.series.slot_text`."""
    next_slot: str
    """The slot that is open, or is being made; the last one of a series that is over."""
    made: int
    """Instances that it has had."""
    cancelled: Sequence[str]
    """Slots ahead that are skipped."""
    moved: Mapping[str, int]
    """Slots ahead that are due at another instant."""
    successor: Mapping[str, Any] | None
    """The schedule that goes on from this one: its `id`; when that begins ahead also its first slot as it was `slot`
    here, the `start` that it became, the `changes` of its tasks, and whether it `is_begun`."""
    version: int

    @property
    def waiting(self) -> Mapping[str, Any] | None:
        """The successor, while it has yet to begin."""
        return None if self.successor is None or self.successor.get("is_begun", True) else self.successor


class Completion(NamedTuple):
    """An entry of the log."""

    id: str
    user_id: str
    series_id: str
    task_id: str | None
    slot: str
    completed_at: int
    local_date: str
    timing: str
    next_slot: str | None
    undone_at: int | None


class PlanKind(StrEnum):
    """What todo is asked to do with an instance."""

    PUT = "put"
    REVISE = "revise"
    WITHDRAW = "withdraw"
    REOPEN = "reopen"


class Plan(NamedTuple):
    """One request to todo, which is repeated until it was answered."""

    id: str
    user_id: str
    series_id: str
    """Plans of one series are carried out in order."""
    target_id: str
    """The series that the instance belongs to, or comes to."""
    kind: str
    slot: str
    task_id: str | None
    """The task that a new instance is made from, or that is revised or made pending."""
    changes: Mapping[str, Any]
    """New values by the names of `InstanceChanges`; instants as in the model."""
    source_id: str | None = None
    """The series of the task when it was decided: todo refuses when its user has begun another with it since."""
    attempts: int = 0


class OpenTask(NamedTuple):
    """A task that is neither complete nor deleted, and recurs or has reminders."""

    id: str
    user_id: str
    title: str
    is_begun: bool
    due_date: int | None
    time_zone: str | None
    """Of its series."""
    series_id: str | None
    slot: str | None


class Reminder(NamedTuple):
    """A reminder of an open task."""

    task_id: str
    reminder: str
    """The offset from the due time, or empty for the absolute one."""
    user_id: str
    remind_at: int
    is_waiting: bool


class TaskState(NamedTuple):
    """What an event shows of a task."""

    task: OpenTask
    is_open: bool
    """Whether it is neither complete nor deleted."""
    at: int
    """When it happened."""
    completed_at: int
    reminder_time: int | None
    offsets: Sequence[str]
    """Of its relative reminders."""
    rule: Mapping[str, Any] | None
    repeat_from: str


class DueReminder(NamedTuple):
    """A reminder that is due, with what its event says of the task."""

    task_id: str
    reminder: str
    user_id: str
    remind_at: int
    title: str
    due_date: int | None
    series_id: str | None
    slot: str | None
    now: int
    """By the clock of the database."""


class Outcome(NamedTuple):
    """What a change of a schedule brings with it."""

    schedule: Schedule
    plans: Sequence[Plan] = ()
    completion: Completion | None = None
    new: Schedule | None = None
    """A schedule that begins with the change."""
