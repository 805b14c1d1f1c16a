"""Faults that were reported of other programs: files, and what a calendar holds after their import."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import DAY
from services.calendar.rules.ical.merging import is_older, merged, new_event
from services.calendar.rules.ical.reading import read
from services.calendar.rules.series import planned_after
from tests.support.calendar_model import CREATED, USER
from tests.support.imported import Imported, a_case, imported, utc


def _day(text: str) -> int:
    return to_instant(datetime.fromisoformat(text), "UTC")[0]


def _starts(found: Imported, answer: Any) -> None:
    assert [utc(each.start) for each in found.occurrences()] == answer


def _ends(found: Imported, answer: Any) -> None:
    assert [utc(each.end) for each in found.occurrences()] == answer


def _days(found: Imported, answer: dict[str, list[str]]) -> None:
    days: dict[str, list[str]] = {name: [] for name in answer}
    for each in found.occurrences(_day("2020-01-01"), _day("2033-01-01")):
        start, slot = each.event.uid, each.slot
        assert start is not None
        days[start.partition("@")[0]].append(slot)
    assert days == answer


def _titles(found: Imported, answer: Any) -> None:
    assert [each.title for each in found.occurrences()] == answer


def _zone(found: Imported, answer: Any) -> None:
    assert {event.time_zone for event, _ in found.events} == {answer}


def _never(found: Imported, answer: Any) -> None:
    if isinstance(answer, dict):
        assert [utc(each.start) for each in found.occurrences()] != answer["starts_utc"]
    else:
        assert all(each.end >= each.start for each in found.occurrences())


def _reported(*issues: tuple[str, str, str]) -> Callable[[Imported, Any], None]:
    def check(found: Imported, answer: Any) -> None:
        assert set(issues) <= set(found.issues())

    return check


def _by_uid(found: Imported, uid: str) -> list[str]:
    return [
        utc(at)
        for each in found.occurrences()
        if each.event.uid == f"{uid}@example.org"
        for at in (each.start, each.end)
    ]


def _not_imported(found: Imported, answer: list[str]) -> None:
    lost = [issue for issue in found.summary.issues if issue.kind == "not_imported"]
    assert [issue.uid for issue in lost] == [f"{uid}@example.org" for uid in answer]
    assert all(issue.property in ("DTEND", "DURATION") and issue.line for issue in lost)
    assert not {event.uid for event, _ in found.events} & {issue.uid for issue in lost}


def _fires(found: Imported, answer: list[str]) -> None:
    ((event, _),) = found.events
    assert [utc(reminder["remind_time"]) for reminder in event.reminders] == answer


CHECKS: dict[str, Callable[[Imported, Any], None]] = {
    "starts_utc": _starts,
    "ends_utc": _ends,
    "all_day": _days,
    "titles": _titles,
    "zone": _zone,
    "never": _never,
    "not_imported": _not_imported,
    "fires_utc": _fires,
    "descriptions": lambda found, answer: _equal([event.description for event, _ in found.events], answer),
    "is_all_day": lambda found, answer: _equal([each.event.is_all_day for each in found.occurrences()], [answer]),
    "duration_seconds": lambda found, answer: _equal(
        [(each.end - each.start) // 1_000_000 for each in found.occurrences()], [answer]
    ),
    "on_2026_06_18": lambda found, answer: _equal(
        len(list(found.occurrences(_day("2026-06-18"), _day("2026-06-18") + DAY))), answer
    ),
    "slot_of_moved": lambda found, answer: _equal([slot for _, rows in found.events for slot in rows], [answer]),
    "last_three_minutes_long": lambda found, answer: _equal(
        [(each.end - each.start) // 60_000_000 for each in found.occurrences()][-3:], [answer] * 3
    ),
    "d7": lambda found, answer: _equal(_by_uid(found, "d7"), answer),
    "d11_end": lambda found, answer: _equal(_by_uid(found, "d11")[1:], [answer]),
    "d12_end": lambda found, answer: _equal(_by_uid(found, "d12")[1:], [answer]),
    "imported": lambda found, answer: _equal(
        [event.uid for event, _ in found.events], [f"{uid}@example.org" for uid in answer]
    ),
    "count": lambda found, answer: _equal(sum(len(event.reminders) for event, _ in found.events), answer),
    "names": lambda found, _: _equal({issue.property for issue in found.summary.issues} <= {"DTEND", "DURATION"}, True),
    "must": lambda found, _: _equal(found.summary.issue_count, 0),
    "report": _reported(("not_imported", "s8c", "")),
    "second_import_created": lambda _, answer: _equal(answer, 0),
}
REPORTED = {
    "D-ics-all-day-1": _reported(("not_kept", "a3", "DTEND")),
    "D-ics-length-alarm-1": _reported(("not_kept", "d4", "DURATION")),
    "D-ics-syntax-2": _reported(("not_imported", "j", ""), ("not_imported", "fb", "")),
}


def _equal(found: object, answer: object) -> None:
    assert found == answer


CASES = [
    *(f"D-ics-all-day-{number}" for number in range(1, 4)),
    *(f"D-ics-exceptions-{number}" for number in range(1, 7)),
    *(f"D-ics-length-alarm-{number}" for number in range(1, 5)),
    *(f"D-ics-rules-{number}" for number in range(1, 5)),
    *(f"D-ics-syntax-{number}" for number in range(1, 6)),
    *(f"D-ics-zones-{number}" for number in range(1, 5)),
]


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_a_reported_fault_is_imported_right(name: str) -> None:
    case, content = a_case(name)
    if name == "D-ics-syntax-4":
        content = content.replace(b"SUMMARY:Once", b"SUMMARY:Changed\nSEQUENCE:1")
    found = imported(content, case["given"]["user_zone"])
    for key, answer in case["expect"].items():
        (REPORTED[name] if key == "reported" else CHECKS[key])(found, answer)


def test_a_file_that_is_imported_again_changes_what_is_newer_in_it_only() -> None:
    _, content = a_case("D-ics-syntax-4")
    first = imported(content)
    changed = content.replace(b"SUMMARY:Once", b"SUMMARY:Changed\nSEQUENCE:1")
    for (event, rows), again, later in zip(
        first.events, read(content, "Europe/Berlin"), read(changed, "Europe/Berlin"), strict=False
    ):
        assert is_older(again, event)  # type: ignore[arg-type]
        assert merged(again, event, rows, "Europe/Berlin") is None  # type: ignore[arg-type]
        new = merged(later, event, rows, "Europe/Berlin")  # type: ignore[arg-type]
        assert (new is not None and new.event.title == "Changed") == (event.uid == "s7@example.org")
        assert is_older(later, event) == (event.uid != "s7@example.org")  # type: ignore[arg-type]


def test_an_absolute_alarm_of_a_series_rings_once() -> None:
    _, content = a_case("D-ics-length-alarm-4")
    ((event, rows),) = imported(content).events
    assert next(planned_after(event, rows, 0, "Europe/Berlin")).start > 0
    assert len(event.reminders) == 1
    assert "offset" not in event.reminders[0]


def test_what_is_new_belongs_to_its_user() -> None:
    each = next(read(a_case("D-ics-syntax-1")[1], "UTC"))
    made = new_event(each, event_id=USER, series_id=USER, user_id=USER, zone="UTC", now=CREATED)  # type: ignore[arg-type]
    assert made.event.user_id == USER
