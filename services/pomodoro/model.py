"""Focus sessions, their tasks and their transitions. Instants and lengths are integer microseconds, UTC."""

from enum import StrEnum
from typing import NamedTuple

MOST_TASKS = 50
MOST_TRANSITIONS = 300
"""After so many a session may only be paused, finished and deleted: its event has to fit into 512 KiB."""


MOST_GUEST_SESSIONS, MOST_GUEST_TASKS = 20, 100
"""Of one guest in all."""
MOST_GUEST_BYTES = 256 * 1024
"""Everything of a guest is read and written as one: 20 sessions of 30 transitions with 5 tasks each are 125 KiB."""


class Status(StrEnum):
    """The states of a session; the values are those of the column `status` and of events."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


class IntervalKind(StrEnum):
    """What an interval is for; the values are those of events."""

    FOCUS = "focus"
    SHORT_BREAK = "short_break"
    LONG_BREAK = "long_break"


class Outcome(StrEnum):
    """How a finished session went; the values are those of the column `outcome` and of events."""

    COMPLETED = "completed"
    PARTIAL = "partial"
    ABANDONED = "abandoned"


class Kind(StrEnum):
    """What a transition does."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    END = "end"
    """The interval ends by itself."""
    SKIP = "skip"
    """The user ends the interval."""
    FINISH = "finish"
    GAP = "gap"
    """A time is taken out of what was worked."""
    TASK = "task"
    """Another task is the current one, or none."""


class Cause(StrEnum):
    """Why a time is taken out."""

    SLEEP = "sleep"
    IDLE = "idle"
    BREAK = "break"
    """Idle time that counts as a break."""
    INTERNAL = "internal"
    """An interruption by the user."""
    EXTERNAL = "external"
    """An interruption by somebody else."""
    OVERLAP = "overlap"
    """A session of the account that claimed a guest's session ran at the same time."""


INTERRUPTIONS = (Cause.INTERNAL, Cause.EXTERNAL)
FOCUS_ONLY = (Cause.IDLE, Cause.BREAK)
"""What is taken out of focus intervals only: a break may be idle."""


class SyncResult(StrEnum):
    """What became of the difference between a device's timer and the server's."""

    CONFIRMED = "confirmed"
    GAP_ADDED = "gap_added"
    SERVER_VALUE_KEPT = "server_value_kept"
    INTERVAL_OVER = "interval_over"


class IdleAction(StrEnum):
    """What becomes of idle time."""

    KEEP = "keep"
    DISCARD = "discard"
    REASSIGN = "reassign"


class AnotherRuns(Exception):  # noqa: N818 (the handler decides what to do)
    """A second running session of a user would be stored."""


class SlotTaken(Exception):  # noqa: N818 (the handler decides what to do)
    """A second session of an occurrence would be stored."""


class Transition(NamedTuple):
    """One change of a session's clock or current task; never changed once it is written."""

    session_id: str
    number: int
    """Position in the session, from 1."""
    kind: str
    at: int
    """When it happened; never before the transition before it."""
    runs: bool
    """Whether the session runs after it."""
    device_id: str | None
    """Sign-in of the device that caused it; None for the end of an interval."""
    cause: str | None = None
    gap_start: int | None = None
    gap_end: int | None = None
    task_id: str | None = None


class Task(NamedTuple):
    """A task of a session."""

    id: str
    session_id: str
    title: str
    description: str | None
    is_done: bool
    position: int
    focused_seconds: int
    """As of the session's last transition."""
    pomodoro_count: int
    todo_task_id: str | None
    """The task of todo that it stands for."""
    created_at: int
    updated_at: int


class Session(NamedTuple):
    """One session; its figures are as of `as_of`, and derived from its transitions."""

    id: str
    user_id: str
    title: str | None
    status: str
    duration_pomodoro_minutes: int
    duration_short_break_minutes: int
    duration_long_break_minutes: int
    long_break_interval: int
    auto_start_breaks: bool
    auto_start_focus: bool
    interval_number: int
    """Position of the current interval, from 1."""
    interval_end: int | None
    """When the current interval will end; None while the session is not running."""
    progress: int
    """How long the current interval has run."""
    focused: int
    """How long all focus intervals have run."""
    rested: int
    """How long all breaks have run, idle time that counts as a break included."""
    as_of: int | None
    """Instant of the last transition; None before the first."""
    pomodoro_count: int
    short_break_count: int
    long_break_count: int
    interruption_count: int
    task_count: int
    selected_task_id: str | None
    """The task that the user chose."""
    current_task_id: str | None
    """The task that work counts to."""
    outcome: str | None
    original_event_id: str | None
    """The calendar event that it was started from; this and the next three are set by the calendar only."""
    slot: str | None
    """Which occurrence of the event: its original local start, or a date."""
    planned_start_time: int | None
    planned_minutes: int | None
    start_time: int | None
    end_time: int | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    purge_at: int | None
    version: int


class Focus(NamedTuple):
    """A session with all that belongs to it: read, decided on and written as one."""

    session: Session
    tasks: tuple[Task, ...]
    """By position."""
    transitions: tuple[Transition, ...]
    """By number; none where only the state is read."""
    stored: "Focus | None" = None
    """As it was read; None for a new one."""


class Act(NamedTuple):
    """An act of a user on a session."""

    now: int
    device_id: str | None
    etag: str | None
    """Of the version that it is based on; None for any."""


class Preferences(NamedTuple):
    """What a session takes from its user's settings; the defaults are those of the specification."""

    duration_pomodoro_minutes: int = 25
    duration_short_break_minutes: int = 5
    duration_long_break_minutes: int = 15
    long_break_interval: int = 4
    auto_start_breaks: bool = True
    auto_start_focus: bool = False


class Guest(NamedTuple):
    """Somebody without an account."""

    id: str
    until: int
    """When everything of the guest is gone, seconds since the epoch."""


class GuestClaim(NamedTuple):
    """What became of a guest."""

    guest_id: str
    user_id: str
    """Of the account."""
    response: str
    """To the claim, hexadecimal."""
    claimed_at: int


class Filter(NamedTuple):
    """Filters a list of sessions; empty matches every session."""

    states: tuple[str, ...] = ()
    show_deleted: bool = False
