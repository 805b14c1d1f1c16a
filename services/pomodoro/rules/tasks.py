"""The tasks of a session, and which of them work counts to."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.pomodoro import errors
from services.pomodoro.model import MOST_TASKS, Act, Focus, Task
from services.pomodoro.rules.sessions import require_changeable, with_tasks


def add(focus: Focus, act: Act, task: Task) -> Focus:
    """The session with one more task, the last."""
    require_changeable(focus, act)
    if len(focus.tasks) >= MOST_TASKS:
        raise errors.TooManySessionTasks(focus_session_id=focus.session.id, limit=MOST_TASKS)
    return with_tasks(focus, act, [*focus.tasks, task._replace(position=len(focus.tasks))])


def update(focus: Focus, act: Act, task_id: str, *, changes: Mapping[str, Any]) -> Focus:
    """The session with a changed task; `focus` itself when the changes, by the names of the model, change nothing."""
    require_changeable(focus, act)
    task = get(focus, task_id)
    changed = task._replace(**changes)
    if changed == task:
        return focus
    return with_tasks(focus, act, [_touched(changed, act) if each is task else each for each in focus.tasks])


def reorder(focus: Focus, act: Act, task_ids: Sequence[str]) -> Focus:
    """The session with its tasks in this order; `focus` itself when it is theirs."""
    require_changeable(focus, act)
    tasks = {task.id: task for task in focus.tasks}
    if sorted(task_ids) != sorted(tasks):
        raise errors.SessionTaskOrderIncomplete(focus_session_id=focus.session.id)
    ordered = _positioned([tasks[task_id] for task_id in task_ids], act)
    return focus if ordered == list(focus.tasks) else with_tasks(focus, act, ordered)


def select(focus: Focus, act: Act, task_id: str) -> Focus:
    """The session in which work counts to this task; `focus` itself when it does already."""
    require_changeable(focus, act)
    if get(focus, task_id).is_done:
        raise errors.SessionTaskDone(session_task_id=task_id)
    if focus.session.selected_task_id == task_id:
        return focus
    return with_tasks(focus, act, focus.tasks, selected_task_id=task_id)


def remove(focus: Focus, act: Act, task_id: str) -> Focus:
    """The session without this task."""
    require_changeable(focus, act)
    get(focus, task_id)
    return with_tasks(focus, act, _positioned([task for task in focus.tasks if task.id != task_id], act))


def get(focus: Focus, task_id: str) -> Task:
    """A task of the session; raises SessionTaskNotFound."""
    for task in focus.tasks:
        if task.id == task_id:
            return task
    raise errors.SessionTaskNotFound(session_task_id=task_id)


def _positioned(tasks: Sequence[Task], act: Act) -> list[Task]:
    return [
        task if task.position == position else _touched(task._replace(position=position), act)
        for position, task in enumerate(tasks)
    ]


def _touched(task: Task, act: Act) -> Task:
    return task._replace(updated_at=max(act.now, task.updated_at))
