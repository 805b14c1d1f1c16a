"""Tasks for the tests of the tables of todo."""

from mesh.runtime.clock import now
from mesh.runtime.ids import new_id
from services.todo.model import State, Task

USER = new_id()


def a_task(title: str = "x", *, user_id: str = USER) -> Task:
    """A new pending task."""
    instant = now()
    nothing_else = (None, None, False, None, None, instant, instant, None, None, None, 1)
    return Task(new_id(), user_id, title, None, State.PENDING, *nothing_else)
