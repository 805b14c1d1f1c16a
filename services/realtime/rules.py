"""Validation of cursors."""

import re

from services.realtime.errors import CursorInvalid
from services.realtime.model import Position

_CURSOR = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,19})", re.ASCII)


def position_of(cursor: str) -> Position:
    """The position that a cursor names; raises CursorInvalid."""
    if not _CURSOR.fullmatch(cursor):
        raise CursorInvalid
    position = Position.read(cursor)
    if position.sequence >= 2**64:
        raise CursorInvalid
    return position
