"""IDs: UUID version 7 (RFC 9562), which sort by creation time."""

import os
import time


def new_id() -> str:
    """A new UUIDv7 as text: 48 bits of milliseconds, 74 random bits."""
    instant, rng = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10)
    digits = rng.hex()
    variant = "89ab"[rng[9] & 3]  # the digit of `digits` that it is drawn from is not used
    return f"{instant[:8]}-{instant[8:]}-7{digits[:3]}-{variant}{digits[3:6]}-{digits[6:18]}"
