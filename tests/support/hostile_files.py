"""Files of iCalendar that are made to cost much: as large as a file may be."""

from collections.abc import Iterator

from services.calendar.rules.ical.content import MOST_BYTES

_HEAD, _END = b"BEGIN:VCALENDAR\nVERSION:2.0\n", b"END:VCALENDAR\n"
_START = b"UID:1@example.org\nDTSTART;TZID=Europe/Berlin:20260601T080000\n"


def _calendar(body: bytes) -> bytes:
    return _HEAD + body + _END


def _filled(piece: bytes, before: bytes = b"", after: bytes = b"", size: int = MOST_BYTES) -> bytes:
    """As many pieces as a file may hold, within a VEVENT."""
    begin, end = b"BEGIN:VEVENT\n" + before, after + b"\nEND:VEVENT\n"
    room = size - len(_HEAD) - len(_END) - len(begin) - len(end)
    return _calendar(begin + piece * (room // len(piece)) + end)


def _events(lines: str, most: int = 4_990) -> bytes:
    """As many events, each with another number in it."""
    each = [
        f"BEGIN:VEVENT\nUID:{number}@example.org\n{lines.replace('%d', str(number))}\nEND:VEVENT\n".encode()
        for number in range(most)
    ]
    fitting = (MOST_BYTES - 100) // max(map(len, each))
    return _calendar(b"".join(each[:fitting]))


def _zones() -> bytes:
    """Zones of the file's own, each like none of IANA but almost."""
    one = (
        "BEGIN:VTIMEZONE\nTZID:Mine %d\nBEGIN:STANDARD\nDTSTART:19700101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n"
        "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nEND:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:19700101T020000\n"
        "TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nEND:DAYLIGHT\n"
        "BEGIN:DAYLIGHT\nDTSTART:20330101T020000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0105\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
        "BEGIN:VEVENT\nUID:%d\nDTSTART;TZID=Mine %d:20260601T080000\nRRULE:FREQ=DAILY\nEND:VEVENT\n"
    )
    return _calendar("".join(one.replace("%d", str(number)) for number in range(2_400)).encode())


def hostile_files() -> Iterator[tuple[str, bytes]]:
    """A name and a file."""
    for files in (_lines(), _dates(), _exceptions(), _zone_changes(), _values()):
        yield from files


def _lines() -> Iterator[tuple[str, bytes]]:
    yield "tiny lines", _filled(b"A:\n", _START)
    yield "tiny lines without a colon", _filled(b"A\n", _START)
    yield "line ends", _HEAD + b"\n" * (MOST_BYTES - 100)
    yield "folds", _filled(b"\n x", _START + b"DESCRIPTION:x")
    yield "folds of nothing", _filled(b"\n ", _START + b"DESCRIPTION:x")
    yield "one line", _filled(b"x", _START + b"DESCRIPTION:")
    yield "one line of escapes", _filled(b"\\n", _START + b"DESCRIPTION:")
    yield "one line of backslashes", _filled(b"\\", _START + b"DESCRIPTION:")
    yield "one parameter", _filled(b"x", _START + b"SUMMARY;X-P=", b":y")
    yield "parameters", _filled(b";A=b", _START + b"RDATE", b":20260601T080000Z")
    yield "quotes", _filled(b'"', _START + b"SUMMARY;A=", b":y")
    yield "open quotes", _filled(b'"a" ', _START + b'SUMMARY;A="', b":y")
    yield "components in components", _HEAD + b"BEGIN:A\n" * ((MOST_BYTES - 100) // 8)
    yield "ends of what has not begun", _HEAD + b"BEGIN:A\n" * 300 + b"END:B\n" * ((MOST_BYTES - 5_000) // 6)
    yield "calendars", (_HEAD + _END) * (MOST_BYTES // len(_HEAD + _END))


def _dates() -> Iterator[tuple[str, bytes]]:
    yield "events without an end", _calendar(b"BEGIN:VEVENT\n" * ((MOST_BYTES - 100) // 13))
    yield "alarms", _filled(b"BEGIN:VALARM\nTRIGGER:-PT1M\nEND:VALARM\n", _START)
    yield (
        "excluded times",
        _filled(b",20260602T080000", _START + b"RRULE:FREQ=DAILY\nEXDATE;TZID=Europe/Berlin:20260603T080000"),
    )
    yield "excluded times in UTC", _filled(b",20260602T070000Z", _START + b"RRULE:FREQ=DAILY\nEXDATE:20260603T080000Z")
    yield "excluded days", _filled(b",20260602", _START + b"RRULE:FREQ=DAILY\nEXDATE;VALUE=DATE:20260603")
    yield "added times", _filled(b",20260602T080000", _START + b"RDATE:20260603T080000")
    yield "periods", _filled(b",20260602T080000Z/PT1H", _START + b"RDATE;VALUE=PERIOD:20260603T080000Z/PT1H")
    yield (
        "rules without dates",
        _events("DTSTART:20260601T080000Z\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;INTERVAL=%d"),
    )
    yield (
        "rules with a far COUNT",
        _events(
            "DTSTART:2026060%d\nDTSTART:20240229T080000Z\nRRULE:FREQ=YEARLY;COUNT=1000;BYMONTHDAY=29;BYMONTH=2;INTERVAL=%d"
        ),
    )
    yield (
        "rules with many positions",
        _events(
            "DTSTART:20260601T080000Z\nRRULE:FREQ=YEARLY;COUNT=99%d;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12;"
            "BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=1,-1,100,200,300,366,-366"
        ),
    )
    yield "a rule of positions", _filled(b",1", _START + b"RRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1")
    yield (
        "rules that count far",
        _events("DTSTART:20260601T080000Z\nRRULE:FREQ=DAILY;COUNT=1000;BYMONTH=2;BYDAY=MO;INTERVAL=%d"),
    )


def _exceptions() -> Iterator[tuple[str, bytes]]:
    yield (
        "all that follow",
        _calendar(
            b"BEGIN:VEVENT\nUID:1\nDTSTART:20260101T080000Z\nRRULE:FREQ=DAILY;COUNT=1000\nEND:VEVENT\n"
            + b"".join(
                b"BEGIN:VEVENT\nUID:1\nRECURRENCE-ID;RANGE=THISANDFUTURE:2026%02d%02dT080000Z\n"
                b"DTSTART:2026%02d%02dT09%02d00Z\nDTEND:2026%02d%02dT100000Z\nEND:VEVENT\n"
                % (month, day, month, day, minute, month, day)
                for month in range(1, 13)
                for day in range(1, 29)
                for minute in range(10)
            )
        ),
    )
    yield (
        "overrides of one event",
        _calendar(
            b"BEGIN:VEVENT\nUID:1\nDTSTART:20260101T080000Z\nRRULE:FREQ=DAILY\nEND:VEVENT\n"
            + b"".join(
                b"BEGIN:VEVENT\nUID:1\nRECURRENCE-ID:20%02d%02d%02dT080000Z\nDTSTART:20300101T000000Z\nEND:VEVENT\n"
                % (26 + year, month, day)
                for year in range(14)
                for month in range(1, 13)
                for day in range(1, 29)
            )
        ),
    )


def _zone_changes() -> Iterator[tuple[str, bytes]]:
    yield "zones", _zones()
    yield (
        "a zone that changes each second",
        _calendar(
            b"BEGIN:VTIMEZONE\nTZID:Mine\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n"
            b"RRULE:FREQ=SECONDLY\nEND:STANDARD\nEND:VTIMEZONE\n"
            b"BEGIN:VEVENT\nUID:1\nDTSTART;TZID=Mine:20260601T080000\nEND:VEVENT\n"
        ),
    )
    yield (
        "a zone with many changes",
        _calendar(
            b"BEGIN:VTIMEZONE\nTZID:Mine\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n"
            b"RDATE:19700102T000000" + b",19710102T000000" * 200_000 + b"\nEND:STANDARD\nEND:VTIMEZONE\n"
            b"BEGIN:VEVENT\nUID:1\nDTSTART;TZID=Mine:20260601T080000\nEND:VEVENT\n"
        ),
    )


def _values() -> Iterator[tuple[str, bytes]]:
    yield "an attachment", _filled(b"QUJD", _START + b"ATTACH;ENCODING=BASE64;VALUE=BINARY:")
    yield "control characters", _filled(b"\x01", _START + b"SUMMARY:")
    yield "NUL", _filled(b"\x00", _START + b"SUMMARY:")
    yield "what is no UTF-8", _filled(b"\xff", _START + b"SUMMARY:")
    yield "numbers", _filled(b"9", _START + b"DURATION:PT", b"S")
    yield "a SEQUENCE", _filled(b"9", _START + b"SEQUENCE:")
    yield "a TZID", _filled(b"/", b"UID:1\nDTSTART;TZID=", b":20260601T080000")
    yield "UIDs", _filled(b"U", b"DTSTART:20260601T080000Z\nUID:")
    yield "white space", _filled(b" ", _START + b"RRULE:")
    yield "semicolons", _filled(b";", _START + b"RRULE:FREQ=DAILY")
    yield "components that nobody knows", _calendar(b"BEGIN:X-A\nEND:X-A\n" * 230_000)
    yield "tasks", _events("DUE:20260601T080000Z\nRRULE:FREQ=DAILY").replace(b"VEVENT", b"VTODO")
    yield "times in years that are few", _events("DTSTART:00010101T000000\nRRULE:FREQ=YEARLY")
    yield "the end of the calendar", _events("DTSTART;TZID=Pacific/Kiritimati:9998123%d\nRRULE:FREQ=DAILY;COUNT=1000")
