"""A batch of task events, applied to what is stored of the tasks and their series."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from mesh.recurrence.series import Series, find, parse_slot, slot_text
from mesh.rpc.etag import next_version
from services.recurrence.model import Completion, OpenTask, Plan, Reminder, Schedule, TaskState
from services.recurrence.rules import reminders, schedules
from services.recurrence.rules.schedules import series_of


def concerns(state: TaskState) -> bool:
    """Whether an event concerns a task of which nothing is stored: it recurs or reminds."""
    return state.task.series_id is not None or state.reminder_time is not None or bool(state.offsets)


class Ledger:
    """What is stored, and what becomes of it; `apply` takes the events in order."""

    def __init__(
        self,
        tasks: Iterable[OpenTask],
        stored: Iterable[Reminder],
        schedules_: Iterable[Schedule],
        completions: Iterable[Completion],
        zones: Mapping[str, str | None],
        furthest: Mapping[str, str] | None = None,
    ) -> None:
        """tasks: open ones of the events and of their series. completions: that count, of the tasks and
        of the slots after them.

        furthest: of each series the last slot of its log that counts.
        """
        self.tasks = {task.id: task for task in tasks}
        self.schedules = {schedule.id: schedule for schedule in schedules_}
        self.reminders: dict[str, dict[str, Reminder]] = {}
        for reminder in stored:
            self.reminders.setdefault(reminder.task_id, {})[reminder.reminder] = reminder
        self.completions = {completion.task_id or "": completion for completion in completions}
        self.added: dict[str, Completion] = {}
        self.undone: dict[str, Completion] = {}
        self.plans: list[Plan] = []
        self.ended: list[str] = []
        """Schedules that were to begin after one whose instance has left it."""
        self._zones = zones
        self._furthest = dict(furthest or {})

    def apply_all(self, events: Iterable[tuple[TaskState, str, str]]) -> Iterator[None]:
        """Applies events one by one, as they are asked for."""
        for state, kind, event_id in events:
            self.apply(state, kind, event_id)
            yield

    def apply(self, state: TaskState, kind: str, event_id: str) -> None:
        """Applies one event. kind: its type."""
        before = self.tasks.get(state.task.id)
        if kind == "task-completed":
            self._complete(state, before, event_id)
        elif state.is_open:
            self._open(state, before, event_id)
        else:
            self._close(state.task, before, state.at)

    def _open(self, state: TaskState, before: OpenTask | None, event_id: str) -> None:
        task = state.task
        if before is not None and before.series_id not in (None, task.series_id):
            self._leave(before, state)
        following = reminders.follow(self.reminders.get(task.id, {}), state, self._zones.get(task.user_id))
        if task.series_id is None and not following:
            self._forget(task.id)
        else:
            self.tasks[task.id], self.reminders[task.id] = task, following
        if task.series_id is None:
            return
        schedule = self.schedules.get(task.series_id)
        if schedule is None:
            self.schedules[task.series_id] = schedules.begin(state)
            return
        if before is None and (completion := self._counting(task)) is not None:
            stays = schedules.stays_after(completion, self.tasks.values(), self.completions.values())
            outcome = schedules.undo(schedule, completion, state.at, event_id, reopens=False, stays=stays)
            self.plans += outcome.plans
            self._log(outcome.completion)
            schedule = outcome.schedule
        if before is None or before != task:
            schedule = schedules.opened(schedule, task, state.at)
        self.schedules[task.series_id] = schedule

    def _complete(self, state: TaskState, before: OpenTask | None, event_id: str) -> None:
        task = state.task
        self._forget(task.id)
        if task.series_id is None:
            return
        if before is not None and before.series_id is not None:
            # An edit that todo has yet to hear of counts: it comes to the completed instance, too.
            task = task._replace(series_id=before.series_id, slot=before.slot, time_zone=before.time_zone)
        series_id = task.series_id or ""
        schedule = self.schedules.get(series_id) or schedules.begin(state._replace(task=task))
        at = max(state.completed_at, schedule.created_at) if before is None else state.completed_at
        outcome = schedules.complete(
            schedule, task, self._other(task), at, state.at, event_id, self._furthest.get(schedule.id, "")
        )
        self.schedules[series_id] = outcome.schedule
        self.plans += outcome.plans
        self._log(outcome.completion)

    def _close(self, task: OpenTask, before: OpenTask | None, now: int) -> None:
        """The task is deleted, or was changed when it was complete."""
        self._forget(task.id)
        if before is None or before.series_id is None:
            return
        schedule, other = self.schedules.get(before.series_id), self._other(before)
        if schedule is not None:
            closed = schedules.closed(schedule, now) if other is None else schedules.opened(schedule, other, now)
            self.schedules[schedule.id] = closed

    def _leave(self, before: OpenTask, state: TaskState) -> None:
        """The instance begins a series of its own; what was cancelled or moved after it goes along."""
        task, old = state.task, self.schedules.get(before.series_id or "")
        self.tasks.pop(task.id, None)
        if old is None or self._other(before) is not None:
            return
        if task.series_id is not None and task.series_id not in self.schedules and task.slot:
            self.schedules[task.series_id] = _taken_along(old, schedules.begin(state))
            if old.waiting is not None:
                self.ended.append(old.waiting["id"])
            old = old._replace(successor={"id": task.series_id})
        if old.is_active or old != self.schedules[old.id]:
            self.schedules[old.id] = next_version(old, state.at, is_active=False)

    def _counting(self, task: OpenTask) -> Completion | None:
        completion = self.completions.get(task.id)
        return None if completion is None or completion.undone_at is not None else completion

    def _other(self, task: OpenTask) -> OpenTask | None:
        """Another open instance of the series of a task; the one of the earliest slot."""
        others = [each for each in self.tasks.values() if each.series_id == task.series_id and each.id != task.id]
        return min(others, key=lambda each: each.slot or "", default=None)

    def _forget(self, task_id: str) -> None:
        self.tasks.pop(task_id, None)
        self.reminders.pop(task_id, None)

    def _log(self, completion: Completion | None) -> None:
        if completion is None:
            return
        self.completions[completion.task_id or ""] = completion
        if completion.undone_at is None and completion.task_id is not None:
            self._furthest[completion.series_id] = max(self._furthest.get(completion.series_id, ""), completion.slot)
        elif self._furthest.get(completion.series_id) == completion.slot:
            del self._furthest[completion.series_id]
        if completion.undone_at is not None and completion.id not in self.added:
            self.undone[completion.id] = completion
        else:
            self.added[completion.id] = completion


def _taken_along(old: Schedule, new: Schedule) -> Schedule:
    """The new schedule with those cancelled and moved slots of the old one whose dates it has."""
    series = series_of(new)
    cancelled = [text for slot in old.cancelled if (text := _follow(series, slot)) is not None]
    moved = {text: due for slot, due in old.moved.items() if (text := _follow(series, slot)) is not None}
    return new._replace(cancelled=cancelled, moved=moved)


def _follow(series: Series, slot: str) -> str | None:
    local = datetime.combine(parse_slot(slot)[0].date(), series.start.time())
    found = find(series, local) if local > series.start else None
    return None if found is None else slot_text(found.local, all_day=series.all_day)
