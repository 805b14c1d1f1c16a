"""The chain of audit records, as an outsider would verify it."""

import json
import re
from collections import deque
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from services.audit.model import GENESIS, ChainHead, PendingRecord, Record
from services.audit.rules import ChainVerifier, append, record_hash

USER = "01980000-0000-7000-8000-00000000000a"
DOCUMENT = Path(__file__).parents[3] / "docs" / "audit-chain.md"


def an_entry(number: int, **payload: Any) -> PendingRecord:
    return PendingRecord(
        id=f"01980000-0000-7000-8000-{number:012d}",
        user_id=USER,
        event_id=f"01980000-0000-7000-9000-{number:012d}",
        event_type="task-created",
        task_id="01980000-0000-7000-a000-000000000001",
        payload=payload,
        source_service="todo",
    )


def a_chain(length: int) -> list[Record]:
    return list(append(GENESIS, (an_entry(number) for number in range(1, length + 1)), now=1_770_544_800_000_000))


def end_of(chain: list[Record]) -> ChainHead:
    return ChainHead(chain[-1].chain_position, chain[-1].hash)


def broken(chain: list[Record], head: ChainHead) -> int | None:
    """The position at which the chain is broken."""
    verifier = ChainVerifier(GENESIS)
    deque(verifier.follow(chain), maxlen=0)
    verifier.finish(head)
    return verifier.broken


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
    assert record_hash(record) == sha256(line.encode()).hexdigest()
    assert record_hash(record) in text


def test_records_follow_one_another() -> None:
    chain = a_chain(3)
    assert [record.chain_position for record in chain] == [1, 2, 3]
    assert [record.previous_hash for record in chain] == ["", chain[0].hash, chain[1].hash]


def test_a_batch_goes_on_where_the_chain_ended() -> None:
    first = a_chain(2)
    more = list(append(end_of(first), [an_entry(3)], now=1))
    assert broken(first + more, end_of(more)) is None


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
    assert broken(chain, head) == 2


def test_a_changed_record_with_a_fitting_hash_breaks_the_chain_behind_it() -> None:
    chain = a_chain(4)
    head = end_of(chain)
    forged = chain[1]._replace(event_type="task-deleted")
    chain[1] = forged._replace(hash=record_hash(forged))
    assert broken(chain, head) == 3


def test_a_missing_record_is_found() -> None:
    chain = a_chain(4)
    assert broken([*chain[:1], *chain[2:]], end_of(chain)) == 2


def test_records_that_changed_positions_are_found() -> None:
    chain = a_chain(4)
    head = end_of(chain)
    chain[1], chain[2] = (
        chain[2]._replace(chain_position=2),
        chain[1]._replace(chain_position=3),
    )
    assert broken(chain, head) == 2


def test_records_cut_off_at_the_end_are_found() -> None:
    chain = a_chain(4)
    assert broken(chain[:2], end_of(chain)) == 3


def test_records_added_behind_the_end_are_found() -> None:
    chain = a_chain(4)
    assert broken(chain, end_of(chain[:2])) == 3


def test_an_empty_chain_is_whole() -> None:
    assert broken([], GENESIS) is None


def test_the_order_of_a_payloads_members_does_not_change_the_hash() -> None:
    """Postgres gives the members of a JSONB value back in an order of its own."""
    [one] = append(GENESIS, [an_entry(1, title="x", status="pending")], now=1)
    [other] = append(GENESIS, [an_entry(1, status="pending", title="x")], now=1)
    assert one.hash == other.hash


def test_a_number_has_one_hash_whether_it_is_read_as_a_double_or_as_an_integer() -> None:
    """Postgres gives the double 1e20 of a JSONB value back as an integer."""
    [one] = append(GENESIS, [an_entry(1, many=[{"number": 1e20}, 3.0])], now=1)
    [other] = append(GENESIS, [an_entry(1, many=[{"number": 10**20}, 3])], now=1)
    assert one.hash == other.hash
