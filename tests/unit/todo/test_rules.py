"""What may happen to a task: the specification's transitions and no other."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import DAY
from mesh.runtime.errors import ServiceError, VersionConflict
from services.todo import errors
from services.todo.model import Schedule, State, Task
from services.todo.rules import tasks as rules

NOW = 1_800_000_000_000_000
SERIES = "0190a000-0000-7000-8000-000000000003"
PENDING = Task(
    id="0190a000-0000-7000-8000-000000000001",
    user_id="0190a000-0000-7000-8000-000000000002",
    title="Buy groceries",
    description="Milk, bread, eggs",
    status=State.PENDING,
    due_date=None,
    reminder_time=None,
    is_recurring=False,
    recurrence_schedule=None,
    estimated_pomodoros=None,
    created_at=NOW,
    updated_at=NOW,
    completed_at=None,
    deleted_at=None,
    purge_at=None,
    version=1,
)
IN_PROGRESS = PENDING._replace(status=State.IN_PROGRESS)
COMPLETE = PENDING._replace(status=State.COMPLETE, completed_at=NOW)
DELETED = PENDING._replace(deleted_at=NOW, purge_at=NOW + 30 * DAY)
VERBS: dict[str, Callable[..., Task]] = {
    "start": rules.start,
    "complete": rules.complete,
    "reopen": rules.reopen,
    "delete": rules.delete,
    "undelete": rules.undelete,
}


@pytest.mark.parametrize(
    ("before", "verb", "after"),
    [
        (PENDING, "start", State.IN_PROGRESS),
        (PENDING, "complete", State.COMPLETE),
        (IN_PROGRESS, "complete", State.COMPLETE),
        (COMPLETE, "reopen", State.PENDING),
    ],
)
def test_a_task_moves_as_the_specification_allows(before: Task, verb: str, after: State) -> None:
    moved = VERBS[verb](before, now=NOW + 1, etag=None)
    assert moved.status == after
    assert moved.version == before.version + 1
    assert moved.updated_at == NOW + 1
    assert (moved.completed_at == NOW + 1) == (after is State.COMPLETE)


@pytest.mark.parametrize(
    ("before", "verb", "error"),
    [
        (IN_PROGRESS, "start", errors.TaskAlreadyStarted),
        (COMPLETE, "start", errors.TaskAlreadyComplete),
        (COMPLETE, "complete", errors.TaskAlreadyComplete),
        (PENDING, "reopen", errors.TaskNotComplete),
        (IN_PROGRESS, "reopen", errors.TaskNotComplete),
        (PENDING, "undelete", errors.TaskNotDeleted),
        (DELETED, "start", errors.TaskDeleted),
        (DELETED, "complete", errors.TaskDeleted),
        (DELETED, "reopen", errors.TaskDeleted),
        (DELETED, "delete", errors.TaskDeleted),
    ],
)
def test_every_other_move_is_refused(before: Task, verb: str, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        VERBS[verb](before, now=NOW, etag=None)


@pytest.mark.parametrize("before", [PENDING, IN_PROGRESS, COMPLETE])
def test_any_task_can_be_deleted_and_comes_back_as_it_was(before: Task) -> None:
    deleted = rules.delete(before, now=NOW + 5, etag=None)
    assert (deleted.deleted_at, deleted.purge_at) == (NOW + 5, NOW + 5 + 30 * DAY)
    back = rules.undelete(deleted, now=NOW + 6, etag=None)
    assert back == before._replace(updated_at=NOW + 6, version=before.version + 2)


@pytest.mark.parametrize("verb", VERBS)
def test_a_change_based_on_another_version_is_refused_with_the_current_etag(verb: str) -> None:
    task = {"reopen": COMPLETE, "undelete": DELETED}.get(verb, PENDING)
    with pytest.raises(VersionConflict) as refused:
        VERBS[verb](task._replace(version=7), now=NOW, etag="v6")
    assert refused.value.metadata == {"etag": "v7"}


def test_an_update_that_changes_nothing_is_not_a_new_version() -> None:
    assert rules.update(PENDING, NOW + 1, "v1", changes={"title": PENDING.title}, series_id=SERIES) is PENDING


@pytest.mark.parametrize(
    "changes", [{"is_recurring": True}, {"recurrence_schedule": Schedule.DAILY}], ids=["no schedule", "does not recur"]
)
def test_recurring_and_schedule_change_together(changes: dict[str, object]) -> None:
    with pytest.raises(errors.RecurrenceIncomplete):
        rules.update(PENDING, NOW, None, changes=changes, series_id=SERIES)


@given(st.lists(st.tuples(st.sampled_from(sorted(VERBS)), st.integers(-DAY, DAY)), max_size=30))
def test_no_sequence_of_verbs_breaks_what_always_holds(steps: list[tuple[str, int]]) -> None:
    task = PENDING
    for verb, drift in steps:
        before = task
        try:
            task = VERBS[verb](task, now=task.updated_at + drift, etag=None)
        except ServiceError:
            continue
        assert task.version == before.version + 1
        assert task.updated_at >= before.updated_at
        assert (task.status == State.COMPLETE) == (task.completed_at is not None)
        assert (task.deleted_at is None) == (task.purge_at is None)
