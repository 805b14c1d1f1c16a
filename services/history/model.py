"""What history keeps. Instants are integer microseconds since the epoch, UTC; dates are those of the user's days."""

from datetime import date
from enum import StrEnum
from typing import NamedTuple


class IntervalKind(StrEnum):
    """What an interval is for; the values are those of `session-events`."""

    FOCUS = "focus"
    SHORT_BREAK = "short_break"
    LONG_BREAK = "long_break"


class Status(StrEnum):
    """How a session came into the archive; the values are those of the column `status`."""

    FINISHED = "finished"
    PAUSED = "paused"


class Outcome(StrEnum):
    """How a finished session went; the values are those of the column `outcome`."""

    COMPLETED = "completed"
    PARTIAL = "partial"
    ABANDONED = "abandoned"


class WeekStart(StrEnum):
    """On which day the weeks of a user begin; the values are those of `user-events`."""

    MONDAY = "monday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class Group(StrEnum):
    """How figures are grouped."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    TASK = "task"
    HOUR = "hour"
    WEEKDAY = "weekday"


class PlanGroup(StrEnum):
    """How what was planned is grouped."""

    OCCURRENCE = "occurrence"
    EVENT = "event"
    SERIES = "series"
    WEEK = "week"


class Zone(NamedTuple):
    """Where a user was from an instant on."""

    since: int
    time_zone: str
    day_start_minutes: int


class Person(NamedTuple):
    """What history knows of a user."""

    user_id: str
    zones: tuple[Zone, ...]
    """By effective instant; the first counts for all time before it too."""
    week_start: str
    is_deleted: bool
    """Nothing is stored of the user any more."""


class Span(NamedTuple):
    """A time during which an interval ran, and the session's task that it counts to."""

    begin: int
    end: int
    task_id: str | None


class Interval(NamedTuple):
    """An interval that has ended."""

    number: int
    kind: str
    planned_seconds: int
    end: int
    is_pomodoro: bool
    spans: tuple[Span, ...]


class Task(NamedTuple):
    """A task of a session as it was in the end; also the form in which JSON keeps it."""

    task_id: str
    title: str
    description: str | None
    is_done: bool
    position: int
    focused_seconds: int
    pomodoro_count: int
    todo_task_id: str | None


class Recorded(NamedTuple):
    """The intervals of one session that have ended, whether the session is over or not."""

    id: str
    user_id: str
    begin_time: int | None
    """When the first span begins; None without one."""
    end_time: int | None
    """When the last span ends."""
    intervals: tuple[Interval, ...]
    todo_task_ids: dict[str, str]
    """The todo tasks that tasks of the session stand for."""
    archived_at: int | None
    """`created_at` of its row in the archive; None while the session is not over."""
    deleted_at: int | None
    purge_at: int | None
    is_manual: bool = False
    """Whether it was added by hand."""


class DayPart(NamedTuple):
    """Work and breaks of a session in one hour of one day, on one task."""

    user_id: str
    session_id: str
    local_date: date
    hour: int
    """On the user's clock."""
    task_id: str | None
    """The todo task, or the session's task that stands for none."""
    focused_seconds: int
    break_seconds: int
    pomodoro_count: int
    planned_seconds: int


class Archived(NamedTuple):
    """A session that is over: a row of the archive."""

    id: str
    original_session_id: str | None
    """The session of the pomodoro service; None of one that was added by hand."""
    user_id: str
    title: str | None
    status: str
    outcome: str | None
    pomodoro_count: int
    short_break_count: int
    long_break_count: int
    duration_pomodoro_minutes: int
    duration_short_break_minutes: int
    duration_long_break_minutes: int
    long_break_interval: int
    total_focused_seconds: int
    total_break_seconds: int
    interruption_count: int
    task_count: int
    original_event_id: str | None
    slot: str | None
    planned_start_time: int | None
    planned_minutes: int | None
    start_time: int | None
    end_time: int | None
    created_at: int
    """When it was finished or put away; of one that was added by hand, its first end."""
    updated_at: int
    deleted_at: int | None
    purge_at: int | None
    version: int


class Record(NamedTuple):
    """A session of the archive with all that belongs to it: read, decided on and written as one."""

    archived: Archived
    recorded: Recorded
    tasks: tuple[Task, ...]


class Figures(NamedTuple):
    """What intervals add up to."""

    focused_seconds: int = 0
    break_seconds: int = 0
    pomodoro_count: int = 0
    planned_seconds: int = 0


class Bucket(NamedTuple):
    """The figures of one group."""

    date: date | None
    number: int | None
    """The hour, or the day of the week from 1 for Monday."""
    task_id: str | None
    task_title: str | None
    figures: Figures


class PlannedOccurrence(NamedTuple):
    """An occurrence of the calendar as it was planned when it ended or was started, and what became of it."""

    user_id: str
    event_id: str
    slot: str
    series_id: str
    title: str
    start_time: int
    planned_minutes: int
    local_date: date
    status: str
    """As the calendar said last, like `session_id`."""
    session_id: str | None

    @property
    def place(self) -> tuple[str, str, str]:
        """Which one it is of its series: edits may give it another event, of the same series, after its time."""
        return self.user_id, self.series_id, self.slot


class PlanFigures(NamedTuple):
    """What occurrences add up to."""

    planned_count: int = 0
    planned_minutes: int = 0
    started_count: int = 0
    completed_count: int = 0
    never_started_count: int = 0
    focused_seconds: int = 0


class PlanBucket(NamedTuple):
    """The figures of an occurrence, event, series or week."""

    date: date | None
    event_id: str | None
    series_id: str | None
    slot: str | None
    title: str | None
    start_time: int | None
    status: str | None
    session_id: str | None
    figures: PlanFigures


class Vacation(NamedTuple):
    """A run of dates on which nothing is expected."""

    first: date
    last: date


class Goals(NamedTuple):
    """What a user wants to reach, and when not."""

    daily_minutes: int | None = None
    weekly_minutes: int | None = None
    days_off: tuple[int, ...] = ()
    """Days of the week, from 1 for Monday."""
    vacations: tuple[Vacation, ...] = ()
    version: int = 0
    """0 before the first change."""
    updated_at: int = 0


class Window(NamedTuple):
    """Which sessions of the archive: half-open, by `created_at`; None is unbounded."""

    begin: int | None
    end: int | None
    show_deleted: bool = False
    include_cold: bool = False
