"""Events and rows of the calendar, as its store would give them."""

from typing import Any

from mesh.recurrence.document import to_document
from mesh.recurrence.series import parse_slot
from mesh.recurrence.text import parse
from mesh.recurrence.zones import to_instant
from services.calendar.model import CalendarEvent, OccurrenceRow, Status

USER = "01890000-0000-7000-8000-00000000000a"
EVENT = "01890000-0000-7000-8000-0000000000e1"
ZONE = "Europe/Zurich"
"""Of the user, and of events unless it is said otherwise."""
CREATED = to_instant(parse_slot("2026-01-01T00:00:00")[0], "UTC")[0]


def an_event(start: str, rule: str | None = None, *, minutes: int = 60, **fields: Any) -> CalendarEvent:
    """An event of whole days where `start` is a date, otherwise in ZONE. rule: as RFC 5545 writes it."""
    local, all_day = parse_slot(start)
    zone: str | None = fields.get("time_zone", None if all_day else ZONE)
    days, seconds = (minutes // 1440, 0) if all_day else (0, minutes * 60)
    plain = CalendarEvent(
        id=EVENT,
        user_id=USER,
        title="Deep work",
        description=None,
        scheduled_start=to_instant(local, zone or ZONE)[0],
        duration_minutes=minutes,
        repeat_type="none" if rule is None else parse(rule).frequency.value,
        repeat_until=None,
        status=Status.PLANNED.value,
        created_at=CREATED,
        updated_at=CREATED,
        location=None,
        start_slot=start,
        time_zone=zone,
        length_days=days,
        length_seconds=seconds,
        rule=None if rule is None else to_document(parse(rule, time_zone=zone or ZONE)),
        added=[],
        reminders=[],
        todo_task_id=None,
        series_id=EVENT,
        subscription_id=None,
        uid=None,
        sequence=0,
        stamped_at=None,
        ends_at=None,
        last_slot=None,
        next_end_at=None,
        deleted_at=None,
        purge_at=None,
        version=1,
    )
    return plain._replace(**fields)


def a_row(slot: str, *, moved_to: str | None = None, minutes: int | None = None, **fields: Any) -> OccurrenceRow:
    """What the occurrence of a slot has of its own. moved_to: local time in ZONE, or a date."""
    start = None if moved_to is None else to_instant(parse_slot(moved_to)[0], ZONE)[0]
    all_day = parse_slot(slot)[1]
    days, seconds = (None, None) if minutes is None else (minutes // 1440, 0) if all_day else (0, minutes * 60)
    plain = OccurrenceRow(
        event_id=EVENT,
        slot=slot,
        user_id=USER,
        status=Status.PLANNED.value,
        title=None,
        description=None,
        location=None,
        start_slot=moved_to,
        start_time=start,
        length_days=days,
        length_seconds=seconds,
        session_id=None,
        starts=0,
        completed_at=None,
        is_completed_by_session=False,
    )
    return plain._replace(**fields)


def rows_of(*rows: OccurrenceRow) -> dict[str, OccurrenceRow]:
    """The rows by their slots."""
    return {row.slot: row for row in rows}
