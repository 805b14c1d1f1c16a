"""A session that a test drives by the clock on the wall: `session.at("10:10").pause()`."""

from datetime import UTC, datetime
from typing import Any

from mesh.runtime.clock import SECOND
from services.pomodoro.model import Act, Cause, Focus, IdleAction, Session, Status, SyncResult, Task
from services.pomodoro.rules import gaps, sessions, tasks
from services.pomodoro.rules.timeline import Timeline

DAY = "2026-03-02"
MINUTE = 60 * SECOND
LAPTOP, PHONE = "laptop", "phone"
MOST_ENDS = 24


def instant(text: str, day: str = DAY) -> int:
    """Microseconds of `10:25` or `10:25:30` UTC on the day."""
    return round(datetime.fromisoformat(f"{day}T{text}").replace(tzinfo=UTC).timestamp()) * SECOND


def wall(at: int | None) -> str:
    """`10:25:30`, UTC."""
    return "" if at is None else datetime.fromtimestamp(at / SECOND, UTC).strftime("%H:%M:%S")


def a_session(**plan: Any) -> Session:
    """A planned session of 25 and 5 minutes, with a long break of 15 after four."""
    nothing: dict[str, Any] = dict.fromkeys(Session._fields)
    figures = dict.fromkeys(
        (
            *("progress", "focused", "rested", "pomodoro_count", "short_break_count", "long_break_count"),
            *("interruption_count", "task_count", "created_at", "updated_at"),
        ),
        0,
    )
    return Session(
        **nothing
        | figures
        | {
            "id": "s",
            "user_id": "u",
            "status": Status.PLANNED,
            "duration_pomodoro_minutes": 25,
            "duration_short_break_minutes": 5,
            "duration_long_break_minutes": 15,
            "long_break_interval": 4,
            "auto_start_breaks": True,
            "auto_start_focus": False,
            "interval_number": 1,
            "version": 1,
        }
        | plan
    )


def a_task(task_id: str, *, is_done: bool = False) -> Task:
    """A task without time."""
    return Task(task_id, "s", task_id, None, is_done, 0, 0, 0, None, 0, 0)


class Driven:
    """A session, the current instant and the device that acts."""

    def __init__(self, day: str = DAY, names: tuple[str, ...] = (), **plan: Any) -> None:
        """names: of its tasks."""
        self.day, self.now, self.device, self.seen = day, 0, LAPTOP, 0 if plan.pop("watched", True) is None else None
        self.ended: list[Focus] = []
        """The session after each end of an interval."""
        listed = [a_task(name)._replace(position=index) for index, name in enumerate(names)]
        session = a_session(**plan)._replace(task_count=len(names))
        self.focus = sessions.create(session, listed, Act(0, LAPTOP, None), start=False)

    def at(self, text: str, device: str = LAPTOP) -> "Driven":
        """Moves the clock, applies what is due, and lets a device act."""
        return self.to(instant(text, self.day), device)

    def to(self, now: int, device: str = LAPTOP) -> "Driven":
        """The same, to an instant."""
        self.now, self.device = now, device
        while ends := list(sessions.advance(self.focus, now, self.seen, MOST_ENDS)):
            self.ended += ends
            self.focus = ends[-1]
        return self

    def start(self) -> None:
        self.focus = sessions.start(self.focus, self.act)

    def pause(self) -> None:
        self.focus = sessions.pause(self.focus, self.act)

    def resume(self) -> None:
        self.focus = sessions.resume(self.focus, self.act)

    def skip(self) -> None:
        self.focus = sessions.skip(self.focus, self.act)

    def finish(self) -> None:
        self.focus = sessions.finish(self.focus, self.act)

    def sync(self, seconds: int, number: int | None = None, *, others: int | None = 0) -> SyncResult:
        self.focus, result = gaps.sync(
            self.focus,
            self.act,
            number=number or self.focus.session.interval_number,
            progress_seconds=seconds,
            others=others,
        )
        return result

    def idle(self, since: str, action: IdleAction) -> None:
        self.focus = gaps.report_idle(self.focus, self.act, since=instant(since, self.day), action=action)

    def interrupt(self, seconds: int, cause: Cause = Cause.EXTERNAL) -> None:
        self.focus = gaps.interrupt(self.focus, self.act, cause=cause, duration=seconds * SECOND)

    def select(self, task_id: str) -> None:
        self.focus = tasks.select(self.focus, self.act, task_id)

    def done(self, task_id: str) -> None:
        self.focus = tasks.update(self.focus, self.act, task_id, changes={"is_done": True})

    @property
    def act(self) -> Act:
        return Act(self.now, self.device, None)

    @property
    def timeline(self) -> Timeline:
        return sessions.timeline_of(self.focus, self.now)

    @property
    def shown(self) -> Session:
        """What a client is shown."""
        return sessions.at(self.focus.session, self.now)

    @property
    def state(self) -> str:
        return self.focus.session.status

    @property
    def worked(self) -> int:
        """Seconds in focus."""
        return self.shown.focused // SECOND

    @property
    def progress(self) -> int:
        """Seconds of the current interval."""
        return self.shown.progress // SECOND

    @property
    def end(self) -> str:
        """When the current interval ends."""
        return wall(self.focus.session.interval_end)
