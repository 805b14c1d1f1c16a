"""The tasks of a session, and which of them work counts to."""

import pytest

from services.pomodoro import errors
from services.pomodoro.model import MOST_TASKS, Kind
from services.pomodoro.rules import tasks
from tests.unit.pomodoro.drive import Driven, a_task


def started(*names: str, **plan: object) -> Driven:
    session = Driven(names=names, **plan)  # type: ignore[arg-type]  # a plan
    session.at("10:00").start()
    return session


def seconds(session: Driven) -> dict[str, int]:
    """Of each task, as of the last transition."""
    return {task.id: task.focused_seconds for task in session.focus.tasks if task.focused_seconds}


def test_work_counts_to_the_first_open_task_then_to_the_selected_one() -> None:
    session = started("a", "b", "c")
    session.at("10:05").select("c")
    session.at("10:08").done("c")
    session.at("10:09").done("a")
    session.at("10:15").pause()
    assert seconds(session) == {"a": 360, "c": 180, "b": 360}
    assert sum(seconds(session).values()) == session.worked


def test_work_without_an_open_task_counts_to_the_session_alone() -> None:
    session = started("a")
    session.at("10:05").done("a")
    session.at("10:15").pause()
    assert (seconds(session), session.worked, session.shown.current_task_id) == ({"a": 300}, 900, None)


def test_a_break_counts_to_no_task() -> None:
    session = started("a").at("10:29")
    session.pause()
    assert seconds(session) == {"a": 1500}


def test_a_gap_is_taken_from_the_task_of_that_time() -> None:
    session = started("a", "b")
    session.at("10:10").select("b")
    session.at("10:12").interrupt(240)
    assert seconds(session) == {"a": 480}


def test_a_pomodoro_counts_to_the_task_that_most_of_it_was_worked_on() -> None:
    session = started("a", "b")
    session.at("10:12").select("b")
    session.at("10:26")
    assert {task.id: task.pomodoro_count for task in session.focus.tasks} == {"a": 0, "b": 1}


def test_the_tasks_of_a_planned_session_change_without_a_transition() -> None:
    session = Driven(names=("a", "b"))
    session.select("b")
    assert (session.focus.transitions, session.shown.current_task_id) == ((), "b")
    session.at("10:00").start()
    assert [each.kind for each in session.focus.transitions] == [Kind.START, Kind.TASK]


def test_what_was_worked_on_a_removed_task_still_counts_to_the_session() -> None:
    session = started("a", "b").at("10:10")
    session.focus = tasks.remove(session.focus, session.act, "a")
    session.at("10:15").pause()
    assert (seconds(session), session.worked) == ({"b": 300}, 900)
    assert [(task.id, task.position) for task in session.focus.tasks] == [("b", 0)]
    assert session.shown.task_count == 1


def test_a_new_order_names_every_task_once() -> None:
    session = started("a", "b", "c").at("10:10")
    for order in (["a", "b"], ["a", "b", "d"], ["a", "b", "b"]):
        with pytest.raises(errors.SessionTaskOrderIncomplete):
            tasks.reorder(session.focus, session.act, order)
    assert tasks.reorder(session.focus, session.act, ["a", "b", "c"]) is session.focus
    session.focus = tasks.reorder(session.focus, session.act, ["c", "a", "b"])
    assert [(task.id, task.position) for task in session.focus.tasks] == [("c", 0), ("a", 1), ("b", 2)]
    session.at("10:15").pause()
    assert seconds(session) == {"a": 600, "c": 300}


def test_a_task_is_added_at_the_end_up_to_fifty() -> None:
    session = Driven()
    for number in range(MOST_TASKS):
        session.focus = tasks.add(session.focus, session.act, a_task(str(number)))
    assert [task.position for task in session.focus.tasks] == list(range(MOST_TASKS))
    with pytest.raises(errors.TooManySessionTasks):
        tasks.add(session.focus, session.act, a_task("one more"))


def test_a_done_task_is_not_selected_and_a_missing_one_not_found() -> None:
    session = started("a", "b").at("10:01")
    session.done("b")
    with pytest.raises(errors.SessionTaskDone):
        session.select("b")
    with pytest.raises(errors.SessionTaskNotFound):
        session.select("c")


def test_a_change_that_changes_nothing_is_no_new_version() -> None:
    session = started("a").at("10:01")
    session.select("a")
    before = session.focus
    session.select("a")
    assert tasks.update(before, session.act, "a", changes={"title": "a"}) is session.focus is before


def test_the_tasks_of_a_finished_session_do_not_change() -> None:
    session = started("a").at("10:01")
    session.finish()
    with pytest.raises(errors.FocusSessionFinished):
        session.done("a")
