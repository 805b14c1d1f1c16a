"""How many sessions are written at once."""

import pytest

from services.pomodoro.jobs import _portions
from services.pomodoro.model import Focus, Kind, Transition
from tests.unit.pomodoro.drive import a_session, a_task


def a_focus(transitions: int, tasks: int) -> Focus:
    started = Transition("s", 1, Kind.START, 0, True, None)
    return Focus(a_session(), (a_task("t"),) * tasks, (started,) * transitions)


@pytest.mark.parametrize(
    ("sizes", "portions"),
    [
        ([], []),
        ([(10, 2)] * 25, [25]),
        ([(10, 2)] * 26, [25, 1]),
        ([(290, 8), (290, 50)], [1, 1]),
        ([(290, 50), (1, 0), (1, 0)], [1, 2]),
    ],
)
def test_no_session_joins_a_portion_that_it_would_make_too_large(
    sizes: list[tuple[int, int]], portions: list[int]
) -> None:
    claimed = [a_focus(*size) for size in sizes]
    made = list(_portions(claimed))
    assert [len(each) for each in made] == portions
    assert [focus for portion in made for focus in portion] == claimed
