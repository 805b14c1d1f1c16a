"""Ids: UUID version 7 (RFC 9562), which sort by the time they were made."""

import os
import time


def new_id() -> str:
    """A new UUIDv7 as text: 48 bits of milliseconds, 74 bits of chance."""
    chance = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | (chance >> 68) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
