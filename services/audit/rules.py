"""The chain of a user's records: how a record is sealed, and what a whole chain looks like.

`docs/audit-chain.md` tells strangers the same, so that they need not trust this service.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from services.audit.model import Entry, Link, Record

_EXACT = 2**53
"""Up to here doubles hold every integer; beyond it RFC 8785 writes the nearest double."""


def append(head: Link, entries: Iterable[Entry], *, now: int) -> list[Record]:
    """The records that the entries become behind the head of their user's chain."""
    records: list[Record] = []
    for entry in entries:
        record = Record(*entry, recorded_at=now, chain_position=head.position + 1, previous_hash=head.hash, hash="")
        record = record._replace(hash=seal(record))
        head = Link(record.chain_position, record.hash)
        records.append(record)
    return records


def seal(record: Record) -> str:
    """SHA-256, in hexadecimal, over everything that the record says and its place."""
    sealed = {
        "chain_position": record.chain_position,
        "event_id": record.event_id,
        "event_type": record.event_type,
        "id": record.id,
        "payload": record.payload,
        "previous_hash": record.previous_hash,
        "recorded_at_us": record.recorded_at,
        "source_service": record.source_service,
        "task_id": record.task_id,
        "user_id": record.user_id,
    }
    return hashlib.sha256(canonical(sealed).encode()).hexdigest()


class Walk:
    """Goes along a chain and stops at the first record that is not what must come there."""

    def __init__(self, start: Link) -> None:
        self.link = start
        self.checked = 0
        self.broken: int | None = None

    def follow(self, records: Sequence[Record]) -> None:
        """Checks the records that come next."""
        for record in records:
            self.checked += 1
            place = record.chain_position, record.previous_hash
            if place != (self.link.position + 1, self.link.hash) or seal(record) != record.hash:
                self.broken = self.link.position + 1
                return
            self.link = Link(record.chain_position, record.hash)

    def finish(self, head: Link) -> None:
        """Checks that the chain ends where its head says: records cut off at the end leave no other trace."""
        if self.broken is None and self.link != head:
            same_place = self.link.position == head.position
            self.broken = head.position if same_place else min(self.link.position, head.position) + 1


def canonical(value: Any) -> str:
    """JSON in the one form of RFC 8785; raises ValueError for what JSON cannot say."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_text(key)}:{canonical(item)}" for key, item in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and -_EXACT <= value <= _EXACT:
        return str(value)
    if isinstance(value, int | float):
        return _number(float(value))
    raise ValueError(f"JSON has no {type(value).__name__}")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """As ECMAScript writes it: the shortest digits that read back, plain between 1e-6 and 1e21."""
    if not math.isfinite(value):
        raise ValueError("JSON has no infinities")
    negative, figures, exponent = Decimal(repr(value)).as_tuple()
    point = len(figures) + int(exponent)
    digits = "".join(map(str, figures)).rstrip("0")
    if not digits:
        return "0"
    return "-" * negative + _place(digits, point)


def _place(digits: str, point: int) -> str:
    """Digits with the decimal point after the first `point` of them."""
    if 0 < point <= 21:
        if len(digits) <= point:
            return digits.ljust(point, "0")
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1:+d}"
