"""What `make up` is asked for, and what runs already."""

from pathlib import Path

import pytest

from stack.commands.up import requested_replicas, require_shape
from stack.errors import StackError
from stack.layout import Ports, State
from stack.registry import load
from stack.stack import Stack
from stack.supervisor import Supervisor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a stack that seems to run."""
    monkeypatch.setattr(Supervisor, "pid", 1)
    return tmp_path


def running(folder: Path, *services: str) -> Stack:
    """A stack with two replicas of todo, as its state folder describes it."""
    Stack(State(folder), Ports(20000), only=services, replicas={"todo": 2})._write_plan()
    machine = Stack.running(State(folder))
    assert machine is not None
    return machine


@pytest.mark.parametrize(
    ("text", "expected"), [("", {}), ("todo=2", {"todo": 2}), ("todo=2, audit=4", {"todo": 2, "audit": 4})]
)
def test_replicas_are_read_by_service(text: str, expected: dict[str, int]) -> None:
    assert requested_replicas(text) == expected


@pytest.mark.parametrize("text", ["todo", "todo=", "todo=0", "todo=5", "todo=-1", "todo=x", "nope=2"])
def test_replicas_that_do_not_parse_are_an_error_that_shows_how_to_write_them(text: str) -> None:
    with pytest.raises(StackError, match="make up REPLICAS=todo=2"):
        requested_replicas(text)


@pytest.mark.parametrize("expected", [{}, {"todo": 2}, {"audit": 1}])
def test_a_stack_that_runs_as_requested_is_left_alone(folder: Path, expected: dict[str, int]) -> None:
    require_shape(running(folder, *load().services), expected)


@pytest.mark.parametrize("expected", [{"todo": 1}, {"audit": 2}])
def test_a_stack_that_runs_with_other_replicas_is_named(folder: Path, expected: dict[str, int]) -> None:
    with pytest.raises(StackError, match="another shape"):
        require_shape(running(folder, *load().services), expected)


def test_a_stack_that_began_before_a_service_was_registered_is_still_known(folder: Path) -> None:
    machine = running(folder, "auth", "todo")
    assert {replica.name for replica in machine.replicas} == {"auth-0", "todo-0", "todo-1"}
    with pytest.raises(StackError, match="0 of audit, 0 of realtime"):
        require_shape(machine, {})


def test_a_stack_that_began_with_a_service_that_is_gone_can_be_stopped(folder: Path) -> None:
    running(folder, "auth")
    plan = folder / "stack.json"
    plan.write_text(plan.read_text().replace('"auth"', '"gone"'))
    machine = Stack.running(State(folder))
    assert machine is not None
    assert machine.replicas == ()
