"""Files that were damaged at random: each is imported or refused, and never anything else.

CALENDAR_FILES=10000 makes as many.
"""

import os
import random
import resource
import time
from collections.abc import Callable
from itertools import cycle, islice

from services.calendar.rules.ical import work
from services.calendar.rules.ical.content import ReadEvent, Summary
from services.calendar.rules.ical.merging import new_event
from services.calendar.rules.ical.reading import TooLargeError, UnreadableError
from tests.support.calendar_model import CREATED, USER
from tests.support.exported import a_file_of
from tests.support.imported import CASES, imported

FILES = int(os.environ.get("CALENDAR_FILES", "300"))
MOST_SECONDS, MOST_MEBIBYTES = 2.0, 100
Mutation = Callable[[bytes, random.Random], bytes]
PIECES = (
    *(b"BEGIN:VEVENT\n", b"END:VEVENT\n", b"BEGIN:VALARM\n", b"END:VCALENDAR\n", b"RRULE:FREQ=", b";COUNT=99999999999"),
    *(
        b";INTERVAL=0",
        b"DTSTART:",
        b"RDATE:",
        b"\n ",
        b"\r",
        b"\0",
        b"\xff\xfe",
        b":" * 50,
        b";" * 50,
        b'"',
        b"\\",
        b",",
    ),
    *(b"RECURRENCE-ID;RANGE=THISANDFUTURE:", b"-P99999999W", b"99991231T235959Z", b"00010101T000000", b"TZID=Nowhere"),
    *(b"BYDAY=-53SU", b"BYMONTHDAY=31", b"BYSETPOS=-366", b"UNTIL=19700101", b"FREQ=SECONDLY", b"\xf0\x9f\x98\x80"),
)


def _bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(1, len(content))]


def _insert(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + chance.choice(PIECES) * chance.choice((1, 1, 1, 40)) + content[at:]


def _lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.split(b"\n")
    for _ in range(chance.randint(1, 4)):
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[one], lines[other] = lines[other], chance.choice((lines[one], lines[other], b""))
    return b"\n".join(lines)


def _numbers(content: bytes, chance: random.Random) -> bytes:
    digits = [index for index, byte in enumerate(content) if 48 <= byte < 58]
    changed = bytearray(content)
    for index in chance.sample(digits, min(len(digits), chance.randint(1, 6))):
        changed[index] = 48 + chance.randrange(10)
    return bytes(changed)


MUTATIONS: tuple[Mutation, ...] = (_bytes, _cut, _insert, _lines, _numbers)


def test_a_damaged_file_is_imported_or_refused() -> None:
    chance = random.Random(20261129)  # noqa: S311 (the same files in every run)
    originals = [path.read_bytes() for path in sorted(CASES.glob("*.ics"))]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, original in enumerate(islice(cycle(originals), FILES)):
        content = original
        for _ in range(chance.randint(1, 3)):
            content = chance.choice(MUTATIONS)(content, chance) or original
        began = time.process_time()
        _import(content, number)
        assert time.process_time() - began < MOST_SECONDS, content
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MOST_MEBIBYTES


def _import(content: bytes, number: int) -> None:
    """Reads a file as the service does, and exports every tenth again."""
    try:
        found = [work.answered(piece) for piece in work.run(work.asked(content, "Europe/Berlin"))]
    except (UnreadableError, TooLargeError):
        return
    summary = found[-1]
    assert isinstance(summary, Summary)
    assert all(issue.line >= 1 for issue in summary.issues)
    events = [
        new_event(each, event_id=USER, series_id=USER, user_id=USER, zone="Europe/Berlin", now=CREATED)
        for each in found
        if isinstance(each, ReadEvent)
    ]
    text = a_file_of(events, "Europe/Berlin")
    if number % 10 == 0:
        imported(text)
