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
