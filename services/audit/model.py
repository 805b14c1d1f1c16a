"""Records of the audit log, their chain and their filter."""

from typing import Any, NamedTuple


class PendingRecord(NamedTuple):
    """An event that is to become a record."""

    id: str
    """ID of the record."""
    user_id: str
    event_id: str
    event_type: str
    task_id: str
    """ID of the task, focus session or archived session that the event is about."""
    payload: dict[str, Any]
    """The complete `data` of the event."""
    source_service: str


class Record(NamedTuple):
    """A record at its position in the user's chain."""

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
    """Filters a list of records; None and empty match every record. Instants are microseconds since the epoch."""

    task_id: str | None
    subject_id: str | None
    event_types: tuple[str, ...]
    recorded_from: int | None
    recorded_before: int | None


class ChainHead(NamedTuple):
    """The end of a chain: its last position, and the hash that the next record must contain."""

    position: int
    hash: str


GENESIS = ChainHead(0, "")
"""The head of an empty chain."""
