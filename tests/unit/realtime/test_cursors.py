"""Cursors: what clients may come back with."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.realtime.errors import CursorInvalid
from services.realtime.model import Position
from services.realtime.rules import position_of

POSITIONS = st.builds(Position, st.integers(0, 10**15 - 1), st.integers(0, 2**64 - 1))


@given(POSITIONS)
def test_the_cursor_of_a_position_names_that_position(position: Position) -> None:
    assert position_of(str(position)) == position


@given(POSITIONS, POSITIONS)
def test_positions_are_ordered_by_time_and_then_by_number(one: Position, other: Position) -> None:
    assert (one < other) == ((one.milliseconds, one.sequence) < (other.milliseconds, other.sequence))


@pytest.mark.parametrize("cursor", [
    "x", "1", "-", "1-", "-1", "1-2-3", "01-2", "1-02", " 1-2", "1-2\n", "+1-2", "1_0-2", "\u0661-2", "0x1-2", "1.5-2",
    f"1-{2**64}", f"{10**15}-0", "$", "*", "1-*", "(1-2",
])  # fmt: skip
def test_anything_else_is_refused(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        position_of(cursor)


@given(st.text())
def test_no_text_breaks_it(cursor: str) -> None:
    with contextlib.suppress(CursorInvalid):
        assert str(position_of(cursor)) == cursor
