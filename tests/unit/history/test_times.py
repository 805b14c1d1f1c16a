"""Between which times a session may run, and which field of a request an error names."""

import pytest
from focusmesh.history.v1 import history_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.errors import InvalidArgument
from services.history import wire
from services.history.errors import TimeInFuture, TimesInvalid
from services.history.model import Record
from services.history.rules import sessions
from tests.unit.history.build import SESSION, USER, instant

BEGIN, NOW = instant("2026-06-01T08:00"), instant("2026-06-05T00:00")
HOUR = 3600 * SECOND


def by_hand() -> Record:
    """A session of an hour that was added by hand."""
    request = pb.AddManualSessionRequest(
        start_time=Timestamp(seconds=BEGIN // SECOND), end_time=Timestamp(seconds=(BEGIN + HOUR) // SECOND)
    )
    archived, task = wire.manual_from_pb(request, session_id=SESSION, task_id=SESSION, user_id=USER, now=NOW)
    return sessions.manual(archived, task, is_pomodoro=False)


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"end_time": BEGIN}, TimesInvalid, "end_time"),
        ({"end_time": BEGIN + DAY + 1}, TimesInvalid, "end_time"),
        ({"start_time": BEGIN + HOUR}, TimesInvalid, "start_time"),
        ({"start_time": BEGIN - DAY}, TimesInvalid, "start_time"),
        ({"start_time": BEGIN + HOUR, "end_time": BEGIN}, TimesInvalid, "end_time"),
        ({"start_time": NOW - HOUR, "end_time": NOW + 1}, TimeInFuture, "end_time"),
    ],
)
def test_an_error_names_the_time_that_is_wrong(
    changes: dict[str, int], error: type[InvalidArgument], field: str
) -> None:
    with pytest.raises(error) as raised:
        sessions.change(by_hand(), changes, now=NOW, hot_from=0)
    assert [violation.field for violation in raised.value.fields] == [field]


def test_a_recorded_session_may_be_longer_than_a_day_and_one_by_hand_may_not() -> None:
    sessions.require_times(BEGIN, BEGIN + 2 * DAY, is_manual=False)
    sessions.require_times(BEGIN, BEGIN + DAY, is_manual=True)
    with pytest.raises(TimesInvalid, match="by hand, at most 24 hours"):
        sessions.require_times(BEGIN, BEGIN + 2 * DAY, is_manual=True)
