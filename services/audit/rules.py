"""The chain of a user's records: how a record is sealed, and what a whole chain looks like.

`docs/audit-chain.md` tells strangers the same, so that they need not trust this service.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import rfc8785

from services.audit.model import ChainHead, PendingRecord, Record

_EXACT = 2**53
"""Below it a double holds every integer."""


def append(head: ChainHead, entries: Iterable[PendingRecord], *, now: int) -> list[Record]:
    """The records that the entries become behind the head of their user's chain."""
    records: list[Record] = []
    for entry in entries:
        record = Record(*entry, recorded_at=now, chain_position=head.position + 1, previous_hash=head.hash, hash="")
        record = record._replace(hash=seal(record))
        head = ChainHead(record.chain_position, record.hash)
        records.append(record)
    return records


def seal(record: Record) -> str:
    """SHA-256, in hexadecimal, over everything that the record says and its place, in the one form of RFC 8785.

    Raises ValueError or OverflowError for what that form cannot say.
    """
    sealed: dict[str, Any] = {
        "chain_position": record.chain_position,
        "event_id": record.event_id,
        "event_type": record.event_type,
        "id": record.id,
        "payload": _doubles(record.payload),
        "previous_hash": record.previous_hash,
        "recorded_at_us": record.recorded_at,
        "source_service": record.source_service,
        "task_id": record.task_id,
        "user_id": record.user_id,
    }
    return hashlib.sha256(rfc8785.dumps(sealed)).hexdigest()


class ChainVerifier:
    """Goes along a chain and stops at the first record that is not what must come there."""

    def __init__(self, start: ChainHead) -> None:
        self.link = start
        self.checked = 0
        self.broken: int | None = None

    def follow(self, records: Sequence[Record]) -> None:
        """Checks the records that come next."""
        for record in records:
            self.checked += 1
            place = record.chain_position, record.previous_hash
            if place != (self.link.position + 1, self.link.hash) or not _is_sealed(record):
                self.broken = self.link.position + 1
                return
            self.link = ChainHead(record.chain_position, record.hash)

    def finish(self, head: ChainHead) -> None:
        """Checks that the chain ends where its head says: records cut off at the end leave no other trace."""
        if self.broken is None and self.link != head:
            same_place = self.link.position == head.position
            self.broken = head.position if same_place else min(self.link.position, head.position) + 1


def _is_sealed(record: Record) -> bool:
    """Whether the record has the hash that it must have."""
    try:
        return seal(record) == record.hash
    except (ValueError, OverflowError):
        return False


def _doubles(value: Any) -> Any:
    """Integers beyond 2**53 as doubles, which all numbers of RFC 8785 are: Postgres gives 1e20 back as an integer."""
    if isinstance(value, dict):
        return {name: _doubles(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_doubles(member) for member in value]
    if isinstance(value, int) and abs(value) >= _EXACT:
        return float(value)
    return value
