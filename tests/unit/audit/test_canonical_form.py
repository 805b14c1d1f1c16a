"""The canonical form against an independent implementation of RFC 8785, and against its own examples."""

import time
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from services.audit.rules import canonical

_EXACT = st.integers(-(2**53) + 1, 2**53 - 1)
_DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | _EXACT | _DOUBLES | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
)


@given(_VALUES)
@example("".join(map(chr, range(0x80))))
@example({"\ue000": 1, "\U0001f600": 2, "\uffff": 3, "\x00": 4, "": 5})  # UTF-8 orders the first two otherwise
@example(
    [0.0, -0.0, 1e21, 1e20, 999999999999999900000.0, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308, 333333333.3333332]
)
def test_it_is_the_form_of_an_independent_implementation(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("code", range(0, 0x110000, 0x1000))
def test_every_character_is_written_as_there(code: int) -> None:
    text = "".join(chr(one) for one in range(code, code + 0x1000) if not 0xD800 <= one < 0xE000)
    assert canonical(text) == rfc8785.dumps(text)


@given(
    st.integers(2**53, 10**300) | st.integers(-(10**300), -(2**53)) | st.sampled_from([2**53, -(2**53), 2**64, 10**20])
)
def test_an_integer_that_a_double_cannot_hold_is_written_as_the_nearest_double(number: int) -> None:
    assert canonical([number]) == rfc8785.dumps([float(number)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"\ud800": 1}, 10**400, object()])
def test_what_has_no_canonical_form_is_an_error(value: Any) -> None:
    with pytest.raises((ValueError, OverflowError)):
        canonical([value])


@pytest.mark.parametrize("character", ["\n", '"', "\\", "\x01", "é", "x"])
def test_no_character_of_a_text_costs_a_call_of_python(character: str) -> None:
    text = character * 10_000
    begun = time.thread_time()
    for _ in range(10):
        canonical({"description": text})
    assert (time.thread_time() - begun) / 10 < 0.001
