"""What a run proves, and that it does not pass without proving anything."""

import pytest

from prove.plan import NEIGHBOURS, OUTAGES, OVERLOAD, Plan
from prove.promises import Promise, all_hold
from services.todo.settings import Settings
from stack.errors import StackError


@pytest.mark.parametrize("part", [OUTAGES, OVERLOAD, NEIGHBOURS])
def test_what_needs_a_stack_of_its_own_is_refused_on_the_running_one(part: str) -> None:
    with pytest.raises(StackError, match="stack of its own"):
        Plan.from_environment({"ONLY": part, "RUNNING": "1"})


def test_a_run_without_a_promise_proves_nothing() -> None:
    kept, broken = Promise("kept", "", holds=True), Promise("broken", "", holds=False)
    assert all_hold([kept])
    assert not all_hold([kept, broken])
    assert not all_hold([])


def test_the_tasks_of_the_hostile_user_leave_room_for_its_batches() -> None:
    assert Plan.from_environment({}).hostile_tasks <= 0.9 * Settings.most_tasks
