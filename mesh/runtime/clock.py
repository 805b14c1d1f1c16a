"""Instants as integer microseconds since the epoch, UTC: cheap to compare, to store and to send."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

Clock = Callable[[], int]
"""Returns the current instant, microseconds since the epoch; an argument, so that tests can set the time."""

SECOND = 1_000_000
DAY = 86_400 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> int:
    """The current instant."""
    return time.time_ns() // 1000


def set_timestamp(message: Timestamp, instant: int | None) -> None:
    """Sets a Timestamp field in place; None leaves it unset. Ten times cheaper than FromDatetime."""
    if instant is not None:
        message.seconds = instant // SECOND
        message.nanos = instant % SECOND * 1000


def from_timestamp(message: Timestamp) -> int:
    """The instant of a Timestamp; truncated to microseconds."""
    return message.seconds * SECOND + message.nanos // 1000


def to_json(instant: int) -> str:
    """The instant as JSON writes a Timestamp, such as `2026-03-02T10:10:00Z`."""
    message = Timestamp()
    set_timestamp(message, instant)
    return message.ToJsonString()


def to_datetime_or_none(instant: int | None) -> datetime | None:
    """The same instant as an aware datetime, if there is one."""
    return None if instant is None else to_datetime(instant)


@lru_cache(maxsize=256)
def to_datetime(instant: int) -> datetime:
    """The same instant as an aware datetime; exact for every year. Cached: a write converts one up to five times."""
    return _EPOCH + timedelta(microseconds=instant)
