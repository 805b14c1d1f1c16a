"""What must hold of a topic: every committed event is there, those of an aggregate in the order of its versions.

Delivery is at least once, so an event may come again; what counts is where it came first.
"""

from collections.abc import Iterable
from typing import NamedTuple

import orjson

from mesh.events.envelope import Message


class EventRef(NamedTuple):
    """An event as it was committed, or as it was found in a topic."""

    id: str
    subject: str
    version: int


class Verdict(NamedTuple):
    """What is wrong; all zero when nothing is."""

    missing: int
    unknown: int
    out_of_order: int

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self)


def event_of(message: Message) -> EventRef:
    """The event in a raw message."""
    envelope = orjson.loads(message.value or b"")
    return EventRef(envelope["id"], envelope["subject"], int(envelope["sequence"]))


def check(committed: Iterable[EventRef], found: Iterable[EventRef]) -> Verdict:
    """Compares what was committed with what a topic, or a table, has in its order."""
    expected = {event.id for event in committed}
    seen: set[str] = set()
    newest: dict[str, int] = {}
    out_of_order = 0
    for event in found:
        if event.id in seen:
            continue
        seen.add(event.id)
        out_of_order += event.version < newest.get(event.subject, 0)
        newest[event.subject] = max(event.version, newest.get(event.subject, 0))
    return Verdict(len(expected - seen), len(seen - expected), out_of_order)
