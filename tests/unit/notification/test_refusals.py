"""When a reminder of an event is void, by what is known of the event and of its occurrence."""

from typing import Any

import pytest

from services.notification.model import EventState, OccurrenceState, Planned
from services.notification.rules.refusals import refusal

SLOT = "2030-01-02T09:00:00"
MOVED = "2030-01-02T15:00:00"
EVENT = EventState(
    id="e",
    user_id="u",
    series_id="e",
    epoch=1,
    version=3,
    is_deleted=False,
    status="planned",
    start="2030-01-01T09:00:00",
    time_zone="Europe/Berlin",
    rule={"frequency": "daily"},
    added=[],
    updated_at=0,
)
OCCURRENCE = OccurrenceState("e", SLOT, "u", 1, 3, "planned", SLOT, 0)


def fired(slot: str | None = SLOT, *, version: int = 2, epoch: int = 1, **changes: Any) -> dict[str, Any]:
    """What a reminder says of its occurrence, and of the version of the event when it fired."""
    said = {"slot": slot, "start": slot, "time_zone": "Europe/Berlin", "epoch": epoch, "version": version}
    return {name: value for name, value in (said | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"is_deleted": True}, "EVENT_DELETED"),
        ({"status": "cancelled"}, "EVENT_CANCELLED"),
        ({"status": "completed"}, None),  # its last occurrence is; this one may not be
        ({"start": "2030-01-01T10:00:00"}, "OCCURRENCE_MOVED"),
        ({"start": "2030-01-01"}, "OCCURRENCE_MOVED"),
        ({"start": "2030-01-03T09:00:00"}, "OCCURRENCE_MOVED"),
        ({"start": "2030-01-03T09:00:00", "added": [SLOT]}, None),
        ({"rule": {"frequency": "weekly"}}, "OCCURRENCE_MOVED"),
        ({"rule": None}, "OCCURRENCE_MOVED"),
        ({"rule": {"frequency": "daily", "count": 1}}, "OCCURRENCE_MOVED"),
        ({"rule": {"frequency": "daily", "until_time": "2030-01-01T10:00:00Z"}}, "OCCURRENCE_MOVED"),
        ({"rule": {"frequency": "daily", "until_time": "2030-01-02T08:00:00Z"}}, None),
        ({"time_zone": "Europe/London"}, "OCCURRENCE_MOVED"),
        ({"time_zone": None}, "OCCURRENCE_MOVED"),
    ],
)
def test_a_reminder_ends_with_its_slot(changes: dict[str, Any], reason: str | None) -> None:
    event = EVENT._replace(**changes)
    assert refusal(fired(), Planned(event, None)) == reason
    assert refusal(fired(version=3), Planned(event, None)) is None, "the calendar knew that when it fired"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"status": "cancelled"}, "OCCURRENCE_CANCELLED"),
        ({"status": "completed"}, "OCCURRENCE_COMPLETED"),
        ({"start": MOVED}, "OCCURRENCE_MOVED"),
    ],
)
def test_a_reminder_ends_with_its_occurrence(changes: dict[str, Any], reason: str | None) -> None:
    planned = Planned(EVENT, OCCURRENCE._replace(**changes))
    assert refusal(fired(), planned) == reason
    assert refusal(fired(version=3), planned) is None, "the calendar knew that when it fired"


def test_a_reminder_of_a_moved_occurrence_ends_when_that_goes_back_and_not_with_another_zone() -> None:
    of_moved = fired(start=MOVED)
    assert refusal(of_moved, Planned(EVENT, OCCURRENCE)) == "OCCURRENCE_MOVED"
    assert refusal(of_moved, Planned(EVENT, OCCURRENCE._replace(start=MOVED))) is None
    assert refusal(of_moved, Planned(EVENT._replace(time_zone="UTC"), None)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"start": "2031-01-01T10:00:00"}, None),
        ({"is_deleted": True}, "EVENT_DELETED"),
        ({"status": "cancelled"}, "EVENT_CANCELLED"),
        ({"status": "completed"}, "EVENT_COMPLETED"),
    ],
)
def test_a_reminder_for_an_instant_ends_with_the_whole_event(changes: dict[str, Any], reason: str | None) -> None:
    assert refusal(fired(None), Planned(EVENT._replace(**changes), None)) == reason


@pytest.mark.parametrize(
    ("changes", "occurrence", "reason"),
    [
        ({}, {}, None),
        ({"start": "2030-01-02T10:00:00"}, {}, "OCCURRENCE_MOVED"),
        ({"time_zone": "UTC"}, {}, "OCCURRENCE_MOVED"),
        ({"status": "cancelled"}, {}, "OCCURRENCE_MOVED"),
        ({}, {"status": "cancelled"}, "OCCURRENCE_MOVED"),
        ({}, {"start": MOVED}, "OCCURRENCE_MOVED"),
    ],
)
def test_an_occurrence_that_went_over_to_another_event_is_reminded_of_when_it_takes_place_there(
    changes: dict[str, Any], occurrence: dict[str, Any], reason: str | None
) -> None:
    ended = EVENT._replace(rule={"frequency": "daily", "count": 1})
    other = EVENT._replace(id="f", version=1, start=SLOT)._replace(**changes)
    there = OCCURRENCE._replace(event_id="f", version=1, **occurrence) if occurrence else None
    assert refusal(fired(), Planned(ended, None)) == "OCCURRENCE_MOVED"
    assert refusal(fired(), Planned(ended, None, Planned(other, there))) == reason


def test_a_floating_event_is_where_its_user_is() -> None:
    """UNTIL is an instant that falls on another day there; the calendar has judged that."""
    floating = EVENT._replace(time_zone=None, rule={"frequency": "daily", "until_time": "2030-01-02T08:30:00Z"})
    assert refusal(fired(time_zone=None), Planned(floating, None)) is None


def test_what_was_known_before_a_restore_from_a_backup_says_nothing_of_what_fired_after_it() -> None:
    deleted = Planned(EVENT._replace(version=9, is_deleted=True), None)
    assert refusal(fired(version=2, epoch=2), deleted) is None
    assert refusal(fired(version=2, epoch=1), deleted) == "EVENT_DELETED"


def test_of_an_event_that_is_not_known_everything_is_sent() -> None:
    assert refusal(fired(), None) is None
