"""What the realtime service moves: changes at their place in a user's stream."""

from typing import NamedTuple


class Position(NamedTuple):
    """A place in a user's stream; later ones are greater. As text it is the cursor that clients keep."""

    milliseconds: int
    """Of Redis's clock."""
    sequence: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.sequence}"

    @classmethod
    def read(cls, text: str) -> "Position":
        """The place that a text written by Redis or `str` names; raises ValueError."""
        milliseconds, _, sequence = text.partition("-")
        return cls(int(milliseconds), int(sequence))


class Entry(NamedTuple):
    """A change, serialized, at its place."""

    position: Position
    change: bytes


class Gap(NamedTuple):
    """Entries before this place are gone."""

    position: Position


class Heartbeat(NamedTuple):
    """Nothing came up to this place."""

    position: Position


class Page(NamedTuple):
    """What follows a position."""

    lost: bool
    """Whether entries between the position and the present may be gone; `entries` is empty then."""
    tail: Position
    """Nothing that is yet to come is at or before it."""
    entries: list[Entry]
