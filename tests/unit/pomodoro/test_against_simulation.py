"""The rules against a simulation that knows nothing of transitions: it looks at every single second."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesh.runtime.clock import SECOND
from mesh.runtime.errors import VersionConflict
from services.pomodoro.model import Act, Cause, IdleAction, Status, SyncResult
from services.pomodoro.rules import gaps, sessions, timeline
from tests.unit.pomodoro.drive import LAPTOP, Driven

WORK, GAP, BREAK = "work", "gap", "break"
TASKS = ("a", "b", "c")
BEGIN = 10_000
"""First second of the simulation."""


@dataclass
class Second:
    """One second in which the session ran."""

    at: int
    interval: int
    task: str | None
    counts: str = WORK


class Simulation:
    """A session, second by second."""

    def __init__(self, minutes: tuple[int, int, int], interval: int, auto: tuple[bool, bool]) -> None:
        """auto: whether breaks and focus intervals start by themselves."""
        self.minutes, self.long_interval, self.auto = minutes, interval, auto
        self.status, self.number, self.now = Status.RUNNING, 1, BEGIN
        self.seconds: list[Second] = []
        self.ended: list[int] = []
        self.done: set[str] = set()
        self.selected: str | None = None
        self.acted = BEGIN

    def length(self, number: int) -> int:
        if number % 2:
            return 60 * self.minutes[0]
        return 60 * self.minutes[2 if number // 2 % self.long_interval == 0 else 1]

    def task(self) -> str | None:
        open_tasks = [task for task in TASKS if task not in self.done]
        return self.selected if self.selected in open_tasks else next(iter(open_tasks), None)

    def of(self, number: int, counts: str = WORK) -> list[Second]:
        return [each for each in self.seconds if each.interval == number and each.counts == counts]

    def wait(self, seconds: int) -> None:
        task, worked, length = self.task(), len(self.of(self.number)), self.length(self.number)
        for _ in range(seconds):
            if self.status == Status.RUNNING:
                self.seconds.append(Second(self.now, self.number, task))
                worked += 1
            self.now += 1
            if self.status == Status.RUNNING and worked == length:
                self.end(by_itself=True)
                worked, length = 0, self.length(self.number)

    def end(self, *, by_itself: bool) -> None:
        starts = self.auto[self.number % 2 == 0] and self.status == Status.RUNNING
        if by_itself:
            begun = {each.interval: each.at for each in reversed(self.seconds)}
            alone = [number for number, at in begun.items() if at >= self.acted]
            starts = starts and len(alone) < 2 * self.long_interval
        self.ended.append(self.number)
        self.number += 1
        self.status = Status.RUNNING if starts else Status.PAUSED

    def take_out(self, since: int, counts: str, *, focus_only: bool) -> None:
        for each in self.seconds:
            if each.at >= since and (each.interval % 2 or not focus_only) and (counts == GAP or each.counts == WORK):
                each.counts = counts

    def total(self, *, focus: bool) -> int:
        reassigned = 0 if focus else sum(each.counts == BREAK for each in self.seconds)
        return reassigned + sum(each.counts == WORK and bool(each.interval % 2) is focus for each in self.seconds)

    def pomodoros(self) -> int:
        return sum(bool(n % 2) and 100 * len(self.of(n)) >= 80 * self.length(n) for n in self.ended)


class Rules(RuleBasedStateMachine):
    """Does the same to both."""

    @initialize(
        minutes=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3)),
        interval=st.integers(1, 3),
        auto=st.tuples(st.booleans(), st.booleans()),
    )
    def plan(self, minutes: tuple[int, int, int], interval: int, auto: tuple[bool, bool]) -> None:
        breaks, focus = auto
        self.session = Driven(
            names=TASKS,
            duration_pomodoro_minutes=minutes[0],
            duration_short_break_minutes=minutes[1],
            duration_long_break_minutes=minutes[2],
            long_break_interval=interval,
            auto_start_breaks=breaks,
            auto_start_focus=focus,
        )
        self.session.to(BEGIN * SECOND).seen = 0
        self.session.start()
        self.model = Simulation(minutes, interval, auto)

    @rule(seconds=st.integers(1, 90))
    def wait_a_little(self, seconds: int) -> None:
        self.wait(seconds)

    @rule(seconds=st.sampled_from([60, 120, 180, 300]))
    def wait_for_an_end(self, seconds: int) -> None:
        self.wait(seconds)

    @rule(seconds=st.integers(300, 1200))
    def wait_long(self, seconds: int) -> None:
        self.wait(seconds)

    def wait(self, seconds: int) -> None:
        self.model.wait(seconds)
        self.session.to(self.model.now * SECOND)

    @rule()
    def look(self) -> None:
        self.session.seen = self.model.now * SECOND
        self.model.acted = max(self.model.acted, self.model.now)

    @precondition(lambda self: self.model.status == Status.RUNNING)
    @rule()
    def pause(self) -> None:
        self.session.pause()
        self.model.status = Status.PAUSED
        self.acted()

    @precondition(lambda self: self.model.status == Status.PAUSED)
    @rule()
    def resume(self) -> None:
        self.session.resume()
        self.model.status = Status.RUNNING
        self.acted()

    @precondition(lambda self: self.model.status in (Status.RUNNING, Status.PAUSED))
    @rule()
    def skip(self) -> None:
        self.session.skip()
        self.model.end(by_itself=False)
        self.acted()

    @precondition(lambda self: self.model.status == Status.RUNNING)
    @rule(data=st.data())
    def sleep(self, data: st.DataObject) -> None:
        worked = self.model.of(self.model.number)
        shown = data.draw(st.integers(0, len(worked)), "shown")
        result = self.session.sync(shown)
        if shown >= len(worked) - 2:
            assert result == SyncResult.CONFIRMED
        else:
            assert result == SyncResult.GAP_ADDED
            self.model.take_out(worked[shown].at, GAP, focus_only=False)
            self.acted()

    @precondition(lambda self: self.model.status in (Status.RUNNING, Status.PAUSED))
    @rule(ago=st.integers(0, 600), action=st.sampled_from([IdleAction.DISCARD, IdleAction.REASSIGN]))
    def idle(self, ago: int, action: IdleAction) -> None:
        since, before = max(0, self.model.now - ago), self.session.focus
        self.session.focus = gaps.report_idle(before, self.session.act, since=since * SECOND, action=action)
        self.model.take_out(since, GAP if action is IdleAction.DISCARD else BREAK, focus_only=True)
        if self.session.focus is not before:
            self.acted()

    @precondition(lambda self: self.model.status in (Status.RUNNING, Status.PAUSED))
    @rule(took=st.integers(0, 200))
    def interrupt(self, took: int) -> None:
        self.session.interrupt(took, Cause.INTERNAL)
        worked = self.model.of(self.model.number)
        if took and worked:
            self.model.take_out(worked[max(0, len(worked) - took)].at, GAP, focus_only=False)
        self.acted()

    @precondition(lambda self: self.model.status != Status.FINISHED)
    @rule(task=st.sampled_from(TASKS), finishes=st.booleans())
    def change_task(self, task: str, finishes: bool) -> None:
        if task in self.model.done:
            return
        before = self.session.focus.transitions
        if finishes:
            self.session.done(task)
            self.model.done.add(task)
        else:
            self.session.select(task)
            self.model.selected = task
        if self.session.focus.transitions != before:
            self.acted()

    @precondition(lambda self: self.model.status == Status.RUNNING)
    @rule()
    def act_on_an_older_version(self) -> None:
        stale = Act(self.session.now, LAPTOP, f"v{self.session.focus.session.version - 1}")
        for verb in (sessions.pause, sessions.skip, sessions.finish):
            with pytest.raises(VersionConflict):
                verb(self.session.focus, stale)

    @precondition(lambda self: self.model.status in (Status.RUNNING, Status.PAUSED) and len(self.model.seconds) > 200)
    @rule()
    def finish(self) -> None:
        self.session.finish()
        self.model.ended.append(self.model.number)
        self.model.status = Status.FINISHED

    @invariant()
    def shows_what_the_simulation_counted(self) -> None:
        shown, model = self.session.shown, self.model
        assert (shown.status, shown.interval_number) == (model.status, model.number)
        assert shown.progress == len(model.of(model.number)) * SECOND
        assert shown.focused == model.total(focus=True) * SECOND
        assert shown.rested == model.total(focus=False) * SECOND
        assert shown.pomodoro_count == model.pomodoros()
        ran = {each.interval for each in model.seconds}
        breaks = [number for number in model.ended if number % 2 == 0 and number in ran]
        assert shown.short_break_count + shown.long_break_count == len(breaks)
        if model.status == Status.RUNNING:
            left = model.length(model.number) - len(model.of(model.number))
            assert shown.interval_end == (model.now + left) * SECOND

    @invariant()
    def what_was_derived_at_once_is_what_was_derived_step_by_step(self) -> None:
        derived = self.session.timeline
        assert (derived.focused, derived.rested) == (self.session.shown.focused, self.session.shown.rested)
        pieces = list(timeline.work(derived.intervals, self.session.focus.transitions))
        seconds = timeline.seconds_of_tasks(pieces)
        worked = Counter(each.task for each in self.model.seconds if each.counts == WORK and each.interval % 2)
        assert {task: of for task, of in seconds.items() if of} == dict(worked)
        whole = timeline.seconds_of_intervals(derived.intervals)
        assert sum(whole[::2]) == self.session.worked == sum(seconds.values())

    def acted(self) -> None:
        self.model.acted = self.model.now


Rules.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestAgainstSimulation = Rules.TestCase
