"""What focus sessions count to the tasks that were worked on in them."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from services.todo.model import FocusReport, FocusSession
from services.todo.rules import focus

USER, SESSION, WRITE, READ = "u", "s", "write", "read"
NEW = FocusSession(SESSION, USER, {}, is_deleted=False)
WORKED = FocusSession(SESSION, USER, {WRITE: [1500, 1]}, is_deleted=False)


def reported(*, correction: bool = False, deleted: bool = False, **totals: tuple[int, int]) -> FocusReport:
    return FocusReport(SESSION, USER, correction, deleted, {task: list(total) for task, total in totals.items()})


def after(session: FocusSession, *reports: FocusReport) -> FocusSession:
    for each in reports:
        session = focus.report(session, each)
    return session


def test_a_session_counts_what_was_reported_last() -> None:
    session = after(NEW, reported(write=(600, 0)), reported(write=(900, 1), read=(60, 0)))
    assert focus.counted(session) == {WRITE: [900, 1], READ: [60, 0]}


def test_a_deleted_session_counts_nothing_until_it_is_back() -> None:
    deleted = after(WORKED, reported(deleted=True, write=(1500, 1)))
    assert focus.counted(deleted) == {}
    assert focus.counted(after(deleted, reported(write=(1500, 1)))) == WORKED.totals


def test_a_correction_in_history_stays_whatever_pomodoro_reports() -> None:
    corrected = after(WORKED, reported(correction=True, read=(300, 0)))
    assert focus.counted(corrected) == {READ: [300, 0]}
    deleted = after(corrected, reported(deleted=True, write=(1500, 1)))
    assert focus.counted(deleted) == {READ: [300, 0]}  # history follows a deletion, and reports it
    followed = after(deleted, reported(correction=True, deleted=True, read=(300, 0)))
    assert focus.counted(followed) == focus.counted(after(followed, reported(write=(1500, 1)))) == {}
    back = after(followed, reported(correction=True, read=(300, 0)))
    assert focus.counted(back) == {READ: [300, 0]}


def test_a_session_that_history_deleted_counts_nothing_until_it_is_back() -> None:
    removed = after(WORKED, reported(correction=True, deleted=True, write=(1500, 1)))
    assert focus.counted(removed) == focus.counted(after(removed, reported(write=(1500, 1)))) == {}
    assert focus.counted(after(removed, reported(correction=True, write=(1500, 1)))) == WORKED.totals


def test_sums_move_by_the_difference() -> None:
    linked_elsewhere = after(WORKED, reported(read=(1500, 1)))
    assert focus.moved([WORKED], [linked_elsewhere]) == {(USER, WRITE): [-1500, -1], (USER, READ): [1500, 1]}
    assert focus.moved([WORKED], [WORKED]) == {}


REPORTS = st.builds(
    FocusReport,
    session_id=st.sampled_from(["one", "other"]),
    user_id=st.just(USER),
    is_correction=st.booleans(),
    is_deleted=st.booleans(),
    totals=st.dictionaries(
        st.sampled_from([WRITE, READ]), st.tuples(st.integers(0, 10_000), st.integers(0, 10)).map(list)
    ),
)


@given(st.lists(REPORTS, max_size=20))
def test_the_sums_of_tasks_are_what_their_sessions_count(reports: list[FocusReport]) -> None:
    sessions = {name: FocusSession(name, USER, {}, is_deleted=False) for name in ("one", "other")}
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for each in reports:
        before = sessions[each.session_id]
        sessions[each.session_id] = focus.report(before, each)
        for task, moved in focus.moved([before], [sessions[each.session_id]]).items():
            sums[task] = [total + more for total, more in zip(sums[task], moved, strict=True)]
    for task in (WRITE, READ):
        expected = [focus.counted(session).get(task, [0, 0]) for session in sessions.values()]
        assert sums[USER, task] == [sum(column) for column in zip(*expected, strict=True)]
