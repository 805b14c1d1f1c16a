"""The alarms of an event as its reminders."""

from collections.abc import Callable, Iterator
from typing import Any

from mesh.recurrence.offsets import parse_offset
from mesh.recurrence.zones import to_instant
from services.calendar.model import Length
from services.calendar.rules.ical.content import Weight
from services.calendar.rules.ical.lines import Component, Property
from services.calendar.rules.ical.report import Refused
from services.calendar.rules.ical.values import Changed, FindZone, parameters_of, read_span, read_when

MOST_REMINDERS = 10
CHANNEL = "X-FOCUSMESH-CHANNEL"
"""Of an alarm that was exported: through what to be reminded, where RFC 5545 has no such action."""
_KEPT = frozenset({"ACTION", "TRIGGER", "REPEAT", "DURATION", "UID", CHANNEL})
_CHANNELS = {"DISPLAY": "in_app", "AUDIO": "in_app", "EMAIL": "email"}
_OWN_CHANNELS = frozenset({"in_app", "email", "webpush", "sms", "webhook"})


def read_alarms(
    event: Component, length: Length, zone: str, find_zone: FindZone, left: Callable[[Component, Refused, Weight], None]
) -> list[dict[str, Any]]:
    """The reminders of an event's alarms. zone: of the event.

    left: is told of an alarm that is not kept, or not as it is.
    """
    found: list[dict[str, Any]] = []
    for alarm in event.components:
        if alarm.name != "VALARM":
            continue
        try:
            reminder = _reminder(
                alarm, length, zone, find_zone, lambda *told, alarm=alarm: left(alarm, Refused(*told), Weight.CHANGED)
            )
            if reminder in found:
                continue
            if len(found) == MOST_REMINDERS:
                raise Refused("VALARM", f"is one of more than {MOST_REMINDERS}", alarm.line)
            found.append(reminder)
            for refused in _not_kept(alarm, event):
                left(alarm, refused, Weight.IGNORED)
        except Refused as refused:
            left(alarm, refused, Weight.CHANGED)
    return found


def _not_kept(alarm: Component, event: Component) -> Iterator[Refused]:
    """What an alarm has beside its reminder. The title of its event is what a reminder shows."""
    title = event.first("SUMMARY")
    shown = {"", "" if title is None else title.value.strip()}
    for name, found in {each.name: each for each in alarm.properties}.items():
        if name not in _KEPT and not (name in ("SUMMARY", "DESCRIPTION") and found.value.strip() in shown):
            yield Refused(name, "of an alarm is not kept", found.line)


def _reminder(alarm: Component, length: Length, zone: str, find_zone: FindZone, changed: Changed) -> dict[str, Any]:
    if not alarm.is_whole:
        raise Refused("VALARM", f"breaks off in line {alarm.broken_at}", alarm.line)
    channel, trigger, repeat = _channel(alarm), alarm.first("TRIGGER"), alarm.first("REPEAT")
    if trigger is None:
        raise Refused("TRIGGER", "is missing", alarm.line)
    if repeat is not None and repeat.value.strip() not in ("", "0"):
        changed("REPEAT", "was not kept: the reminder comes once", repeat.line)
    if trigger.value.strip()[:1].isdigit():
        return {"remind_time": _instant(trigger, zone, find_zone, changed), "channel": channel}
    span = read_span(trigger)
    days, seconds = (-span.length.days, -span.length.seconds) if span.is_negative else span.length
    if parameters_of(trigger).get("RELATED", "").upper() == "END":
        offset = _offset(days + length.days, seconds + length.seconds, trigger.line)
        changed("TRIGGER", "is relative to the end: it was made relative to the start", trigger.line)
        return {"offset": offset, "channel": channel}
    if _is_offset(trigger.value.strip()):
        return {"offset": trigger.value.strip(), "channel": channel}
    return {"offset": _offset(days, seconds, trigger.line), "channel": channel}


def _is_offset(text: str) -> bool:
    """Whether a duration is an offset as it is written, so that an exported one comes back as it was."""
    try:
        parse_offset(text)
    except ValueError:
        return False
    return True


def _channel(alarm: Component) -> str:
    own = alarm.first(CHANNEL)
    if own is not None and own.value.strip().lower() in _OWN_CHANNELS:
        return own.value.strip().lower()
    action = alarm.first("ACTION")
    channel = _CHANNELS.get("DISPLAY" if action is None else action.value.strip().upper())
    if channel is None:
        raise Refused("ACTION", "is none of DISPLAY, AUDIO and EMAIL", alarm.line if action is None else action.line)
    return channel


def _instant(trigger: Property, zone: str, find_zone: FindZone, changed: Changed) -> int:
    when = read_when(trigger, trigger.value.strip(), find_zone, changed)
    if when.is_date:
        raise Refused("TRIGGER", "is a date", trigger.line)
    if when.zone is None:
        changed("TRIGGER", "is a local time: it was taken in the zone of the event", trigger.line)
    instant = to_instant(when.local, when.zone or zone)[0]
    if instant < 0:
        raise Refused("TRIGGER", "is before 1970", trigger.line)
    return instant


def _offset(days: int, seconds: int, line: int) -> str:
    """The text of an offset, `days` and `seconds` after the start; both are to be negative or 0."""
    if seconds > 0 > days:
        shift = -(-seconds // 86_400)
        days, seconds = days + shift, seconds - shift * 86_400
    elif days > 0 > seconds:
        days, seconds = 0, seconds + days * 86_400
    if days > 0 or seconds > 0:
        raise Refused("TRIGGER", "is after the start", line)
    hours, rest = divmod(-seconds, 3600)
    minutes, rest = divmod(rest, 60)
    time = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if number)
    text = "-P" + (f"{-days}D" if days else "") + (f"T{time}" if time else "")
    try:
        parse_offset("PT0S" if text == "-P" else text)
    except ValueError:
        raise Refused("TRIGGER", "is more than 366 days before the start", line) from None
    return "PT0S" if text == "-P" else text
