"""Focus sessions that go on as their timers do, and the events that pomodoro publishes of them."""

import random
from collections.abc import Callable, Iterable, Sequence

from mesh.events.envelope import ConsumedEvent, Message, envelope, read
from mesh.events.outbox import Event
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.pomodoro import events
from services.pomodoro.model import Act, Cause, Focus, IdleAction, Preferences, Session, Status, Task
from services.pomodoro.rules import gaps, sessions, tasks

MINUTE = 60 * SECOND
TOPIC = "session-events"
_MOST_ENDS = 1000


class Timer:
    """A session of a user, and its events so far."""

    def __init__(self, user_id: str, begin: int, *, titles: Sequence[str] = (), **plan: object) -> None:
        """begin: when it is started. plan: other than the specification's."""
        empty: dict[str, object] = dict.fromkeys(Session._fields)
        zero = dict.fromkeys(("progress", "focused", "rested", "interruption_count"), 0)
        counts = dict.fromkeys(("pomodoro_count", "short_break_count", "long_break_count"), 0)
        made = {"id": new_id(), "user_id": user_id, "status": Status.PLANNED.value, "interval_number": 1, "version": 1}
        times = {"created_at": begin, "updated_at": begin, "task_count": len(titles)}
        session = Session(**empty | zero | counts | Preferences()._asdict() | plan | made | times)  # type: ignore[arg-type]  # a plan
        self.tasks = [
            Task(new_id(), session.id, title, None, False, position, 0, 0, None, begin, begin)
            for position, title in enumerate(titles)
        ]
        self.now = begin
        self.focus = sessions.create(session, self.tasks, self._act(), start=True)
        self.events = [events.session_started(self.focus)]

    @property
    def id(self) -> str:
        """Of the session."""
        return self.focus.session.id

    def after(self, seconds: float) -> "Timer":
        """Lets time pass, and intervals end."""
        self.now += round(seconds * SECOND)
        for focus in sessions.advance(self.focus, self.now, None, _MOST_ENDS):
            self.focus = focus
            self.events.append(events.session_phase_changed(focus))
        return self

    def pause(self) -> "Timer":
        """Pauses it."""
        return self._changed(sessions.pause(self.focus, self._act()), events.session_paused)

    def resume(self) -> "Timer":
        """Resumes it."""
        return self._changed(sessions.resume(self.focus, self._act()), events.session_resumed)

    def skip(self) -> "Timer":
        """Skips the current interval."""
        return self._changed(sessions.skip(self.focus, self._act()), events.session_phase_changed)

    def interrupt(self, seconds: int) -> "Timer":
        """Adds an interruption."""
        changed = gaps.interrupt(self.focus, self._act(), cause=Cause.EXTERNAL, duration=seconds * SECOND)
        return self._changed(changed, events.session_updated)

    def rest(self, seconds: int) -> "Timer":
        """Counts the last focus time to breaks instead."""
        since = self.now - seconds * SECOND
        changed = gaps.report_idle(self.focus, self._act(), since=since, action=IdleAction.REASSIGN)
        return self._changed(changed, events.session_updated)

    def select(self, index: int) -> "Timer":
        """Lets work count to a task."""
        return self._changed(tasks.select(self.focus, self._act(), self.tasks[index].id), events.session_updated)

    def finish(self) -> "Timer":
        """Finishes it."""
        return self._changed(sessions.finish(self.focus, self._act()), events.session_finished)

    def put_away(self) -> "Timer":
        """Archives it as paused for too long."""
        session = self.focus.session._replace(version=self.focus.session.version + 1, updated_at=self.now)
        self.focus = self.focus._replace(session=session)
        self.events.append(events.session_archived(self.focus))
        return self

    def delete(self) -> "Timer":
        """Deletes it."""
        return self._changed(sessions.delete(self.focus, self._act()), events.session_deleted)

    def undelete(self) -> "Timer":
        """Undeletes it."""
        return self._changed(sessions.undelete(self.focus, self._act()), events.session_updated)

    def _act(self) -> Act:
        return Act(self.now, "device", None)

    def _changed(self, focus: Focus, event: Callable[[Focus], Event]) -> "Timer":
        if focus is not self.focus:
            self.focus = focus
            self.events.append(event(focus))
        return self


def consumed(given: Iterable[Event], topic: str = TOPIC) -> list[ConsumedEvent]:
    """Events as a consumer reads them."""
    return [
        read(Message(topic, 0, 0, event.user_id.encode(), envelope(event, ""), (), event.time // 1000))
        for event in given
    ]


def a_random_session(user_id: str, begin: int, rng: random.Random) -> Timer:
    """A session as people have them: worked through, paused, interrupted, on several tasks, finished or given up."""
    timer = Timer(
        user_id,
        begin,
        titles=[f"Task {index}" for index in range(rng.randrange(4))],
        duration_pomodoro_minutes=rng.choice([15, 25, 25, 50]),
        auto_start_focus=rng.random() < 0.5,
    )
    for _ in range(rng.randrange(1, 6)):
        timer.after(rng.uniform(30, 1800))
        if timer.focus.session.status == Status.PAUSED:
            timer.resume()
            continue
        if timer.tasks and rng.random() < 0.3:
            timer.select(rng.randrange(len(timer.tasks)))
        act = rng.choice([timer.pause, timer.skip, lambda: timer.interrupt(rng.randrange(1, 300)), lambda: timer])
        act()
    timer.after(rng.uniform(1, 1500)).finish()
    if rng.random() < 0.05:
        timer.after(60).delete()
        if rng.random() < 0.5:
            timer.after(60).undelete()
    return timer
