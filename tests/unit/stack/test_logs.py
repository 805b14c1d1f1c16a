"""`make logs`."""

from pathlib import Path

import pytest

from stack.commands import logs
from stack.errors import StackError
from stack.layout import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A stack that logged with two replicas of todo."""
    (tmp_path / "logs").mkdir()
    for name in ("todo-0", "todo-1", "postgres"):
        (tmp_path / "logs" / f"{name}.log").touch()
    return State(tmp_path)


def test_a_json_line_is_read_as_time_level_message_and_the_rest() -> None:
    line = '{"time":"2026-02-09T12:00:01.250000Z","level":"WARNING","service":"todo","replica":0,"logger":"mesh.db",'
    line += '"message":"database went away","trace_id":"4bf9","count":3}'
    assert logs.readable(line) == "12:00:01.250 WARNING database went away trace_id=4bf9 count=3"


@pytest.mark.parametrize("line", ["LOG:  database system is ready", "[1, 2]", '{"a": 1}', ""])
def test_a_line_that_is_no_record_stays_as_it_is(line: str) -> None:
    assert logs.readable(line) == line


@pytest.mark.parametrize(
    ("part", "found"),
    [("todo", ["todo-0", "todo-1"]), ("todo-1", ["todo-1"]), ("", ["postgres", "todo-0", "todo-1"])],
)
def test_a_service_is_shown_with_all_its_replicas(state: State, part: str, found: list[str]) -> None:
    assert [path.stem for path in logs.chosen(state, part)] == found


def test_an_unknown_program_is_an_error_that_names_the_known_ones(state: State) -> None:
    with pytest.raises(StackError, match="there are postgres, todo-0, todo-1"):
        logs.chosen(state, "nope")


def test_following_gives_what_is_written_from_now_on(state: State) -> None:
    log = state.log("todo-0")
    log.write_text("old\n")
    following = logs.follow([log])
    with log.open("a") as file:
        file.write("new\n")
    assert next(following) == ("todo-0", "new")
    log.write_text("a\n")
    assert next(following) == ("todo-0", "a"), "it was rotated"
