"""No second counts twice: whether two sessions were at work at the same time."""

import time

from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.history.errors import TimeOverlaps
from services.history.model import Archived, Interval, IntervalKind, Record, Recorded, Span
from services.history.rules import sessions
from tests.unit.history.build import recorded

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=6)


def worked(*times: tuple[int, int], kind: str = IntervalKind.FOCUS) -> Recorded:
    """A session that was at work from each of these seconds on, so many seconds long."""
    spans = tuple(Span(begin * SECOND, (begin + length) * SECOND, None) for begin, length in times)
    return recorded(Interval(1, kind, 1500, 0, False, spans))._replace(id=new_id())


def require_free(one: Recorded, *others: Recorded) -> None:
    archived = Archived(**dict.fromkeys(Archived._fields))._replace(id=one.id)  # type: ignore[arg-type]
    assert list(sessions.require_free(Record(archived, one, ()), others)) == list(others)


def is_free(one: Recorded, other: Recorded) -> bool:
    try:
        require_free(one, other)
    except TimeOverlaps:
        return False
    return True


@given(SPANS, SPANS)
def test_sessions_overlap_when_any_of_their_spans_do(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    seconds = [{second for begin, length in each for second in range(begin, begin + length)} for each in (one, other)]
    assert is_free(worked(*one), worked(*other)) == seconds[0].isdisjoint(seconds[1])


def test_breaks_and_the_session_itself_overlap_with_nothing() -> None:
    mine = worked((0, 10))
    require_free(mine, worked((5, 10), kind=IntervalKind.SHORT_BREAK), mine)


def test_very_long_sessions_are_compared_at_once() -> None:
    one, other = ([(begin, 1) for begin in range(first, 8000, 2)] for first in (0, 1))
    mine, theirs = worked(*one), worked(*other)
    before = time.process_time()
    require_free(mine, theirs)
    assert time.process_time() - before < 0.1
    assert not is_free(mine, worked(*other, (7998, 1)))


def seconds_of(session: Recorded) -> set[int]:
    return {
        second
        for each in session.intervals
        for span in each.spans
        for second in range(span.begin // SECOND, span.end // SECOND)
    }


@given(SPANS, SPANS)
def test_what_is_taken_out_and_nothing_else_counts_no_more(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    ran, taken = (
        sorted({second for begin, length in each for second in range(begin, begin + length)}) for each in (one, other)
    )
    mine = worked(*((second, 1) for second in ran))
    left = sessions.without(mine, [(second * SECOND, (second + 1) * SECOND) for second in taken])
    assert seconds_of(left) == set(ran) - set(taken)
    assert (left == mine) == set(ran).isdisjoint(taken)


def test_nothing_is_taken_out_of_breaks() -> None:
    mine = worked((0, 10), kind=IntervalKind.SHORT_BREAK)
    assert sessions.without(mine, [(0, 10 * SECOND)]) is mine


def test_of_very_many_pieces_all_between_the_first_and_the_last_is_taken_at_once() -> None:
    mine = worked(*((begin, 10) for begin in range(0, 80_000, 20)))
    taken = [(begin * SECOND, (begin + 1) * SECOND) for begin in range(1, 80_001, 2)]
    before = time.process_time()
    left = sessions.without(mine, taken)
    assert time.process_time() - before < 0.1
    assert seconds_of(left) == {0}
    assert len(sessions.without(worked((0, 200)), taken[:50]).intervals[0].spans) == 51


def test_the_largest_session_is_cut_at_once() -> None:
    mine = worked(*((begin, 10) for begin in range(0, 6000, 20)))
    taken = [(begin * SECOND, (begin + 1) * SECOND) for begin in range(1, 6000, 120)]
    before = time.process_time()
    for _ in range(20):
        left = sessions.without(mine, taken)
    assert time.process_time() - before < 0.1
    assert len(left.intervals[0].spans) == 350


def test_a_session_that_is_cut_again_and_again_has_a_bounded_number_of_spans() -> None:
    left, at = worked((0, 10_000)), 0
    for pieces in (50, 50, 1, 50, 50, 50, 50, 50, 47, 1, 1, 3):
        taken = [(second * SECOND, (second + 1) * SECOND) for second in range(at + 1, at + 2 * pieces, 2)]
        left, at = sessions.without(left, taken), at + 2 * pieces
        assert not seconds_of(left) & {begin // SECOND for begin, _ in taken}
    assert len(left.intervals[0].spans) == 400
    assert max(seconds_of(left)) == 798
