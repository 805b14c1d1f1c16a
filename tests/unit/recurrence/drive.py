"""A user's tasks as the recurrence service follows them, with todo played by a few lines: time is the test's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from mesh.recurrence.document import to_document
from mesh.recurrence.rule import MonthEnd
from mesh.recurrence.series import parse_slot
from mesh.recurrence.text import parse
from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import SECOND
from services.recurrence.model import OpenTask, Outcome, Plan, PlanKind, Schedule, TaskState
from services.recurrence.rules.ledger import Ledger
from services.recurrence.rules.schedules import closed
from tests.support.recurrence_events import instance_id

SERIES = "0190a000-0000-7000-8000-000000000001"
USER = "0190a000-0000-7000-8000-0000000000aa"


def instant(text: str) -> int:
    """The instant of `2026-03-29T01:30:00Z`."""
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def said(at: int | None) -> str | None:
    """The text of an instant."""
    return None if at is None else f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"


class Tasks:
    """Tasks by id, and what recurrence stores of them."""

    def __init__(self, zone_of_user: str = "UTC") -> None:
        self.ledger = Ledger((), (), (), (), {USER: zone_of_user})
        self.states: dict[str, tuple[str, TaskState]] = {}
        """Status and last event of every task, also of deleted ones."""
        self._events = 0

    @property
    def schedule(self) -> Schedule:
        """Of the series that the first task began."""
        return self.ledger.schedules[SERIES]

    @property
    def open_slots(self) -> list[str]:
        """The slots of open instances."""
        return sorted(task.slot or "" for task in self.ledger.tasks.values())

    def log(self) -> list[tuple[str, str, bool]]:
        """Slot, timing and whether it was undone, of each entry."""
        found = {**self.ledger.added, **self.ledger.undone}
        entries = sorted(found.values(), key=lambda each: each.completed_at)
        return [(each.slot, each.timing, each.undone_at is not None) for each in entries]

    def waiting(self) -> list[tuple[str, str | None]]:
        """Names and instants of waiting reminders."""
        found = [each for named in self.ledger.reminders.values() for each in named.values() if each.is_waiting]
        return sorted((each.reminder, said(each.remind_at)) for each in found)

    def begin(
        self,
        start: str,
        zone: str,
        rule: str,
        at: str,
        *,
        repeat: str = "from_due_next_future",
        reminders: Sequence[str] = (),
        absolute: str | None = None,
    ) -> None:
        """Creates the first instance."""
        local, all_day = parse_slot(start)
        task = OpenTask(
            id=SERIES,
            user_id=USER,
            title="x",
            is_begun=False,
            due_date=None if all_day else to_instant(local, zone)[0],
            time_zone=zone,
            series_id=SERIES,
            slot=start,
        )
        document = to_document(parse(rule, month_end=MonthEnd.CLAMP))
        absolute_at = None if absolute is None else instant(absolute)
        state = TaskState(task, True, instant(at), instant(at), absolute_at, reminders, document, repeat)
        self.event("task-created", "pending", state)

    def change(self, task_id: str, at: str, **values: Any) -> None:
        """Updates fields of a task's event."""
        status, state = self.states[task_id]
        self.event("task-updated", status, state._replace(at=instant(at), **values))

    def move(self, task_id: str, due: str, at: str) -> None:
        """Gives a task another due time."""
        self.change(task_id, at, task=self.states[task_id][1].task._replace(due_date=instant(due)))

    def complete(self, slot: str, at: str) -> None:
        """Completes the instance of a slot."""
        self._turn(slot, "task-completed", "complete", at, is_open=False)

    def start(self, slot: str, at: str) -> None:
        """Begins the instance of a slot."""
        self._turn(slot, "task-updated", "in_progress", at, is_open=True)

    def reopen(self, slot: str, at: str) -> None:
        """Makes a completed instance pending."""
        self._turn(slot, "task-updated", "pending", at, is_open=True)

    def delete(self, slot: str, at: str) -> None:
        """Deletes the instance of a slot."""
        self._turn(slot, "task-deleted", "deleted", at, is_open=False)

    def undelete(self, slot: str, at: str) -> None:
        """Brings it back."""
        self._turn(slot, "task-updated", "pending", at, is_open=True)

    def take(self, outcome: Outcome, at: str) -> None:
        """Stores what a call decided, and lets todo carry it out."""
        self.ledger.schedules[outcome.schedule.id] = outcome.schedule
        if outcome.new is not None:
            self.ledger.schedules[outcome.new.id] = outcome.new
        self.ledger._log(outcome.completion)
        self.ledger.plans += outcome.plans
        self._carry_out(at)

    def event(self, kind: str, status: str, state: TaskState) -> None:
        """Applies an event, and carries out what follows."""
        self._events += 1
        task = state.task._replace(is_begun=status in ("in_progress", "complete"))
        state = state._replace(task=task)
        self.states[task.id] = (status, state)
        self.ledger.apply(state, kind, str(uuid5(UUID(SERIES), str(self._events))))
        self._carry_out(said(state.at) or "")

    def _turn(self, slot: str, kind: str, status: str, at: str, *, is_open: bool) -> None:
        [task_id] = [each for each, (_, state) in self.states.items() if state.task.slot == slot]
        state = self.states[task_id][1]
        self.event(kind, status, state._replace(at=instant(at), completed_at=instant(at), is_open=is_open))

    def _carry_out(self, at: str) -> None:
        while self.ledger.plans:
            self._apply(self.ledger.plans.pop(0), at)

    def _apply(self, plan: Plan, at: str) -> None:
        """What todo does with a plan, as its contract says."""
        derived = instance_id(plan.target_id, plan.slot)
        found = next((id_ for id_, (_, each) in self.states.items()
                      if (each.task.series_id, each.task.slot) == (plan.target_id, plan.slot)), derived)  # fmt: skip
        status = self.states[found][0] if found in self.states else None
        match PlanKind(plan.kind):
            case PlanKind.PUT if status in (None, "withdrawn"):
                source = self.states[plan.task_id or ""][1]
                due, rule = plan.changes["due_time"], plan.changes.get("recurrence", source.rule)
                task = source.task._replace(id=found, series_id=plan.target_id, slot=plan.slot, due_date=due)
                state = source._replace(task=task, rule=rule, is_open=True, at=instant(at))
                self.event("task-created", "pending", state)
            case PlanKind.PUT if status == "deleted":  # by its user: the planner closes the series
                if not any(task.series_id == plan.series_id for task in self.ledger.tasks.values()):
                    schedule = self.ledger.schedules[plan.series_id]
                    self.ledger.schedules[schedule.id] = closed(schedule, instant(at))
            case PlanKind.WITHDRAW if status == "pending" and self.states[found][1].task.slot == plan.slot:
                self.event("task-deleted", "withdrawn", self.states[found][1]._replace(is_open=False, at=instant(at)))
            case PlanKind.REOPEN if self.states[plan.task_id or ""][0] == "complete":
                state = self.states[plan.task_id or ""][1]
                self.event("task-updated", "pending", state._replace(is_open=True, at=instant(at)))
            case PlanKind.REVISE if self.states[plan.task_id or ""][0] in ("pending", "in_progress"):
                status, state = self.states[plan.task_id or ""]
                assert state.task.series_id in (plan.source_id, plan.target_id)
                due = plan.changes.get("due_time", state.task.due_date)
                rule = plan.changes.get("recurrence", state.rule)
                task = state.task._replace(series_id=plan.target_id, slot=plan.slot, due_date=due)
                self.event("task-updated", status, state._replace(task=task, rule=rule, at=instant(at)))
            case _:
                pass
