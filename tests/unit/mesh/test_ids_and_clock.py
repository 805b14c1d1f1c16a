"""Ids that sort by time, and instants in microseconds."""

import uuid
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime import clock
from mesh.runtime.ids import new_id

YEAR_9999 = 253_402_300_799_999_999


def test_ids_are_version_7_and_never_the_same() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    for text in ids:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, text)


def test_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    before = clock.now() // 1000
    made = int(new_id().replace("-", "")[:12], 16)
    assert before <= made <= clock.now() // 1000


@given(st.integers(0, YEAR_9999))
def test_an_instant_survives_its_message_and_its_datetime_to_the_microsecond(instant: int) -> None:
    message = Timestamp()
    clock.set_timestamp(message, instant)
    assert clock.from_timestamp(message) == instant
    assert message.ToDatetime(UTC) == clock.to_datetime(instant)
    since = clock.to_datetime(instant) - datetime(1970, 1, 1, tzinfo=UTC)
    assert (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds == instant


def test_no_instant_leaves_the_message_unset() -> None:
    message = Timestamp()
    clock.set_timestamp(message, None)
    assert message == Timestamp()
