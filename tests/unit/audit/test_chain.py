"""The chain of audit records, as a stranger would check it."""

import json
import re
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.model import START, Entry, Link, Record
from services.audit.rules import Walk, append, canonical, seal

USER = "01980000-0000-7000-8000-00000000000a"
DOCUMENT = Path(__file__).parents[3] / "docs" / "audit-chain.md"


def an_entry(number: int, **payload: Any) -> Entry:
    return Entry(
        id=f"01980000-0000-7000-8000-{number:012d}",
        user_id=USER,
        event_id=f"01980000-0000-7000-9000-{number:012d}",
        event_type="task-created",
        task_id="01980000-0000-7000-a000-000000000001",
        payload=payload,
        source_service="todo",
    )


def a_chain(length: int) -> list[Record]:
    return append(START, (an_entry(number) for number in range(1, length + 1)), now=1_770_544_800_000_000)


def end_of(chain: list[Record]) -> Link:
    return Link(chain[-1].chain_position, chain[-1].hash)


def walked(chain: list[Record], head: Link) -> int | None:
    walk = Walk(START)
    walk.follow(chain)
    walk.finish(head)
    return walk.broken


def test_the_worked_example_of_the_documentation_holds() -> None:
    text = DOCUMENT.read_text()
    blocks = re.findall(r"```(?:json)?\n(.*?)\n```", text, re.DOTALL)
    shown, line = json.loads(blocks[0]), blocks[1]
    when = datetime.fromisoformat(shown["recordTime"])
    record = Record(
        id=shown["id"],
        user_id=USER,
        event_id=shown["eventId"],
        event_type=shown["eventType"],
        task_id=shown["taskId"],
        payload=shown["payload"],
        source_service=shown["sourceService"],
        recorded_at=int(when.timestamp()) * 1_000_000 + when.microsecond,
        chain_position=shown["chainPosition"],
        previous_hash=shown["previousHash"],
        hash="",
    )
    assert seal(record) == sha256(line.encode()).hexdigest()
    assert seal(record) in text


def test_records_follow_one_another() -> None:
    chain = a_chain(3)
    assert [record.chain_position for record in chain] == [1, 2, 3]
    assert [record.previous_hash for record in chain] == ["", chain[0].hash, chain[1].hash]


def test_a_batch_goes_on_where_the_chain_ended() -> None:
    first = a_chain(2)
    more = append(end_of(first), [an_entry(3)], now=1)
    assert walked(first + more, end_of(more)) is None


@pytest.mark.parametrize("change", [
    {"id": "01980000-0000-7000-8000-999999999999"},
    {"event_id": "01980000-0000-7000-8000-999999999999"},
    {"event_type": "task-deleted"},
    {"task_id": "01980000-0000-7000-8000-999999999999"},
    {"payload": {"title": "other"}},
    {"source_service": "auth"},
    {"recorded_at": 1},
    {"user_id": "01980000-0000-7000-8000-00000000000b"},
])  # fmt: skip
def test_a_change_of_any_part_of_a_record_is_found(change: dict[str, Any]) -> None:
    chain = a_chain(4)
    head = end_of(chain)
    chain[1] = chain[1]._replace(**change)
    assert walked(chain, head) == 2


def test_a_changed_record_with_a_fitting_hash_breaks_the_chain_behind_it() -> None:
    chain = a_chain(4)
    head = end_of(chain)
    forged = chain[1]._replace(event_type="task-deleted")
    chain[1] = forged._replace(hash=seal(forged))
    assert walked(chain, head) == 3


def test_a_missing_record_is_found() -> None:
    chain = a_chain(4)
    assert walked([*chain[:1], *chain[2:]], end_of(chain)) == 2


def test_records_that_changed_places_are_found() -> None:
    chain = a_chain(4)
    head = end_of(chain)
    chain[1], chain[2] = (
        chain[2]._replace(chain_position=2),
        chain[1]._replace(chain_position=3),
    )
    assert walked(chain, head) == 2


def test_records_cut_off_at_the_end_are_found() -> None:
    chain = a_chain(4)
    assert walked(chain[:2], end_of(chain)) == 3


def test_records_added_behind_the_end_are_found() -> None:
    chain = a_chain(4)
    assert walked(chain, end_of(chain[:2])) == 3


def test_an_empty_chain_is_whole() -> None:
    assert walked([], START) is None


# The examples of RFC 8785 and its appendix B.
@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"),
    (-0.0, "0"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (9007199254740992, "9007199254740992"),
    (295147905179352830000.0, "295147905179352830000"),
    (1e21, "1e+21"),
    (1e23, "1e+23"),
    (9.999999999999997e22, "9.999999999999997e+22"),
    (0.000001, "0.000001"),
    (1e-7, "1e-7"),
    (333333333.3333332, "333333333.3333332"),
    (-0.0000033333333333333333, "-0.0000033333333333333333"),
    (1424953923781206.2, "1424953923781206.2"),
    (4.50, "4.5"),
    (10**20, "100000000000000000000"),
    ("€$\x0f\nA'B\"\\\\\"/", '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
    ([None, True, False], "[null,true,false]"),
    ({"b": [], "a": {}}, '{"a":{},"b":[]}'),
])  # fmt: skip
def test_values_have_one_form(value: object, text: str) -> None:
    assert canonical(value) == text


def test_members_are_in_the_order_of_their_utf_16_units() -> None:
    members = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}
    assert list(json.loads(canonical(members)).values()) == [2, 4, 6, 7, 1, 5, 3]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), b"bytes", {1, 2}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="JSON has no"):
        canonical(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_the_one_form_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(canonical(value), parse_int=float) == value


@given(st.dictionaries(st.text(), JSON, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(value: dict[str, Any], chance: Any) -> None:
    names = list(value)
    chance.shuffle(names)
    assert canonical({name: value[name] for name in names}) == canonical(value)
