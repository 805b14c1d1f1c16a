"""Reading as the work of a process: the zone of the user and a file, to one JSON text for each thing that was read."""

from collections.abc import Iterator
from json import dumps
from typing import Any

import orjson

from services.calendar.rules.ical.content import Issue, ReadEvent, ReadRow, ReadTask, Summary
from services.calendar.rules.ical.reading import TooLargeError, UnreadableError, read

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (ReadEvent, ReadTask, Summary)}


def asked(content: bytes, user_zone: str) -> bytes:
    """What the process is given."""
    return user_zone.encode() + b"\n" + content


def run(asked_for: bytes) -> Iterator[bytes]:
    """What the process does."""
    zone, _, content = asked_for.partition(b"\n")
    try:
        for each in read(content, zone.decode()):
            yield dumps([type(each).__name__, each]).encode()
    except UnreadableError as error:
        yield dumps(["Unreadable", error.line]).encode()
    except TooLargeError as error:
        yield dumps(["TooLarge", [error.limit, error.what]]).encode()


def answered(piece: bytes) -> ReadEvent | ReadTask | Summary:
    """One thing that was read. Raises UnreadableError and TooLargeError."""
    kind, values = orjson.loads(piece)
    if kind == "Unreadable":
        raise UnreadableError(values)
    if kind == "TooLarge":
        raise TooLargeError(*values)
    found = _KINDS[kind](*values)
    if isinstance(found, ReadEvent):
        return found._replace(rows=[ReadRow(*row) for row in found.rows])
    if isinstance(found, Summary):
        return found._replace(issues=[Issue(*issue) for issue in found.issues])
    read_task: ReadTask = found
    return read_task
