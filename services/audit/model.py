"""What the audit log is made of."""

from typing import Any, NamedTuple


class PendingRecord(NamedTuple):
    """Something that happened and is to be recorded."""

    id: str
    """Id of the record it becomes."""
    user_id: str
    event_id: str
    event_type: str
    task_id: str
    payload: dict[str, Any]
    """The event's whole `data`."""
    source_service: str


class Record(NamedTuple):
    """An entry at its place in the user's chain."""

    id: str
    user_id: str
    event_id: str
    event_type: str
    task_id: str
    payload: dict[str, Any]
    source_service: str
    recorded_at: int
    """Microseconds since the epoch."""
    chain_position: int
    """The first is 1."""
    previous_hash: str
    """SHA-256 in hexadecimal; empty for the first."""
    hash: str


class Filter(NamedTuple):
    """Which records are asked for; None and empty let everything through. Instants are microseconds."""

    task_id: str | None
    event_types: tuple[str, ...]
    recorded_from: int | None
    recorded_before: int | None


class ChainHead(NamedTuple):
    """A place in a chain, and the hash that the next record must carry on from."""

    position: int
    hash: str


GENESIS = ChainHead(0, "")
"""Before the first record."""
