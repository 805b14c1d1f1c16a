"""Ids: UUID version 7 (RFC 9562), which sort by the time they were made."""

import os
import time


def new_id() -> str:
    """A new UUIDv7 as text: 48 bits of milliseconds, 74 bits of chance."""
    moment, chance = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10)
    digits = chance.hex()
    variant = "89ab"[chance[9] & 3]  # the digit of `digits` that it is drawn from is not used
    return f"{moment[:8]}-{moment[8:]}-7{digits[:3]}-{variant}{digits[3:6]}-{digits[6:18]}"
