"""What the realtime service streams: changes, each at a position in its user's stream."""

from typing import NamedTuple


class Position(NamedTuple):
    """A position in a user's stream, ordered by time. Its text form is the cursor that clients keep."""

    milliseconds: int
    """Since the epoch, by Redis's clock."""
    sequence: int
    """Orders entries of the same millisecond."""

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.sequence}"

    @classmethod
    def read(cls, text: str) -> "Position":
        """Parses the ID of a Redis stream entry, or the result of `str`; raises ValueError."""
        milliseconds, _, sequence = text.partition("-")
        return cls(int(milliseconds), int(sequence))


class Entry(NamedTuple):
    """A serialized change and its position."""

    position: Position
    change: bytes
    """Empty where changes up to the position may be lost."""


class Gap(NamedTuple):
    """Entries before this position may be lost."""

    position: Position


class Heartbeat(NamedTuple):
    """There are no further entries up to this position."""

    position: Position


class Page(NamedTuple):
    """The entries that follow a position."""

    lost: bool
    """Whether entries after the position may be lost; `entries` is empty then."""
    tail: Position
    """Every future entry has a greater position."""
    entries: list[Entry]
