"""Sessions as JSON, by the names of their fields: what is stored outlives a release that adds one."""

from collections.abc import Sequence
from typing import Any

from services.pomodoro.model import Focus, Session, Task, Transition


def row_of(focus: Focus) -> tuple[Any, ...]:
    """What `orjson.dumps` takes."""
    tasks = [task._asdict() for task in focus.tasks]
    return focus.session._asdict(), tasks, [tuple(each) for each in focus.transitions]


def focus_of(row: Sequence[Any]) -> Focus:
    """The session, as `orjson.loads` returned it; fields that it lacks are None."""
    session, tasks, transitions = row
    read = Focus(
        Session._make(map(session.get, Session._fields)),
        tuple(Task._make(map(task.get, Task._fields)) for task in tasks),
        tuple(map(Transition._make, transitions)),
    )
    return read._replace(stored=read)
